/*
 * Heartbeats, votes, releases, reads: see t/lib/msg_fuzz.h.
 */
#include "t/lib/msg_fuzz.h"

FUZZ_FAMILY(MSG_ROUND, MSG_ROUND_ANSWER, MSG_PREVOTE, MSG_PREVOTE_ANSWER,
    MSG_VOTE, MSG_VOTE_ANSWER, MSG_RELEASED, MSG_READ, MSG_READ_ANSWER)
