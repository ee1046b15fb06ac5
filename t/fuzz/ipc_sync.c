/*
 * Syncup and tickets: see t/lib/msg_fuzz.h.
 */
#include "t/lib/msg_fuzz.h"

FUZZ_FAMILY(MSG_SYNC_RUNS, MSG_SYNC_ANSWER, MSG_SYNC_MATCH, MSG_SYNC_REFUSED,
    MSG_TICKET)
