/*
 * The messages of the handshake: see t/lib/msg_fuzz.h.
 */
#include "t/lib/msg_fuzz.h"

FUZZ_FAMILY(MSG_HELLO, MSG_CHALLENGE, MSG_PROOF, MSG_WELCOME, MSG_REFUSAL)
