/*
 * What is told of members and of a master that is missing: texts that are read
 * whole, whatever is written over them.
 */
#include "shm/peers.h"

#include <string.h>
#include "t/tap.h"

static struct peers peers;

static void
texts(void)
{
	char long_text[PEER_TEXT * 2], got[PEER_TEXT * 2];

	memset(long_text, 'x', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	peer_text_set(&peers.row[1].name, "n2");
	peer_text_get(&peers.row[1].name, got, sizeof(got));
	is_str(got, "n2", "a text is read as it was written");
	peer_text_set(&peers.row[1].name, long_text);
	peer_text_get(&peers.row[1].name, got, sizeof(got));
	is_u64(strlen(got), PEER_TEXT - 1, "one that is too long is cut");
	peer_text_set(&peers.row[1].name, "");
	peer_text_get(&peers.row[1].name, got, sizeof(got));
	is_str(got, "", "and nothing is left of it");
}

static void
no_master(void)
{
	char why[PEER_TEXT];
	uint64_t since;

	ok(!peers_no_master(&peers, &since, why, sizeof(why)) && since == 0 &&
		why[0] == '\0',
	    "nothing was told of a missing master");
	peers_no_master_set(&peers, 77, "n2 and n3 are not connected");
	ok(peers_no_master(&peers, &since, why, sizeof(why)) && since == 77,
	    "then since when");
	is_str(why, "n2 and n3 are not connected", "and why");
	peers_no_master_set(&peers, 0, "");
	ok(!peers_no_master(&peers, &since, why, sizeof(why)) && since == 0,
	    "there is one again");
}

int
main(void)
{
	texts();
	no_master();
	return tap_done();
}
