/*
 * Founding and status: see t/lib/msg_fuzz.h.
 */
#include "t/lib/msg_fuzz.h"

FUZZ_FAMILY(MSG_NOTE, MSG_NOTE_ANSWER, MSG_FOUND, MSG_FOUND_ANSWER, MSG_ABANDON,
    MSG_ABANDON_ANSWER, MSG_STATUS, MSG_STATUS_ANSWER)
