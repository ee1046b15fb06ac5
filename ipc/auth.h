/*
 * The group's key, and proofs that a member has it: HMAC-SHA256 (OpenSSL's) of
 *
 *	off size
 *	  0   16  the label "nodelife peer 1" and its NUL
 *	 16    1  who proves: 1 the dialer, 2 the listener
 *	 17    1  the connection: 1 control, 2 data
 *	 18    2  protocol version
 *	 20       all that was said on the connection before (link_core.h), then
 *		  the fields of the message that carries the tag, up to the tag
 *
 * What was said has both nonces and both names in it, and who proves has an own
 * number, so a proof is good for one connection, one end and one direction, and
 * vouches for all that its sender tells of itself.
 *
 * A node without a key proves with a key of no bytes: that keeps out nobody,
 * and takes the same way.
 *
 * It keeps out strangers. Who can alter packets can alter those that follow.
 */
#ifndef IPC_AUTH_H
#define IPC_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUTH_TAG     32
#define AUTH_KEY_MIN 16 /* bytes; what can be guessed is no key */
#define AUTH_KEY_MAX 1024
/* Bytes behind the first 20. */
#define AUTH_SAID_MAX 1024

/* Whoever read it wipes it. */
struct auth_key {
	uint16_t len; /* 0 = none */
	uint8_t byte[AUTH_KEY_MAX];
};

struct auth_input {
	uint8_t role; /* enum msg_from of who proves */
	uint8_t on; /* enum msg_on */
	uint16_t version;
	const uint8_t *said;
	size_t said_len;
	const uint8_t *fields;
	size_t fields_len;
};

/*
 * The key in a file: its bytes, without one newline at the end. 0; or -errno,
 * and why[] says what is wrong and what to do, ready for a message; *key is
 * then empty. -EPERM: others could read or change it; -EINVAL: too short, too
 * long or no plain file. Blocks: called once, before anything is served.
 */
int auth_key_read(
    const char *path, struct auth_key *key, char *why, size_t why_size);
void auth_key_wipe(struct auth_key *key);

/* 0, or -ENOMEM: the library could not. said_len + fields_len is bounded. */
int auth_tag(const struct auth_key *key, const struct auth_input *in,
    uint8_t tag[AUTH_TAG]);
/* In a time that does not depend on how much of them is equal. */
bool auth_tag_equal(const uint8_t a[AUTH_TAG], const uint8_t b[AUTH_TAG]);

#endif
