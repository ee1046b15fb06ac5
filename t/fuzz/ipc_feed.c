/*
 * The data connection: see t/lib/msg_fuzz.h.
 */
#include "t/lib/msg_fuzz.h"

FUZZ_FAMILY(MSG_DATA_HELLO, MSG_DATA_WELCOME, MSG_FRAME, MSG_ACK, MSG_FEED_END)
