/*
 * What an admin is told of a fault: the object, what happened, what it means
 * for the data, what to do. The last follows from errno and place alone, by
 * one table (fault.c), so one errno has one remedy wherever it is met. Pure.
 */
#ifndef SHM_FAULT_H
#define SHM_FAULT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#define FAULT_TEXT_MAX 480 /* a whole message, its NUL included */
#define FAULT_LINE_MAX 900 /* as the log has it, which takes longer ones */

/* Where it happened, for the remedy. */
enum fault_place {
	PLACE_DATA, /* data_dir and what is in it */
	PLACE_RUN, /* run_dir, sockets in it */
	PLACE_STORE, /* what [store] map_size allows */
	PLACE_SHM, /* /dev/shm */
	PLACE_LOG, /* the file of [log] target */
	PLACE_CONF, /* the configuration file */
	PLACE_LISTEN, /* addresses */
	PLACE_RING, /* io_uring */
	PLACE_PROCESS, /* fork, memory, descriptors */
	PLACE_COUNT
};

/* What kind of fault an error is, and so what follows it. */
enum fault_kind {
	FAULT_WORLD, /* waited out: a disk, memory, processes that are missing
		      */
	FAULT_SETUP, /* somebody must change rights, paths or keys */
	FAULT_DAMAGE, /* what is on disk is not what was written */
	FAULT_PROGRAM /* any other */
};

/* EREMCHG of data_dir: what it is then, in place of errno's text. */
#define FAULT_MOVED "it is not the directory that this node was started with"
/* And of a file in it. */
#define FAULT_OTHER_FILE "it is not the file that was written"
/* EIDRM, of the lock file. */
#define FAULT_LOCK_GONE "the one that the node's readers share is gone"
/* EBUSY of data.mdb, behind who it is. */
#define FAULT_WRITES "still writes it"

struct fault {
	const char *object; /* path, member or key; never empty */
	const char *call; /* "write", "fdatasync"; NULL = none */
	int error; /* errno, positive; 0 = none: no remedy is known */
	enum fault_place place;
	const char *effect; /* what it means for the data; NULL = nothing */
	/* In place of errno's text; for what no errno tells. NULL = errno's. */
	const char *what;
	bool goes_on; /* by itself, when it is over; of boots seq_fault() says
		       * that */
	const char *command; /* that does what helps here; NULL, "" = unknown */
	/* EBADMSG: a reader of ours said so of what it was given. Else a call
	 * did, by which file systems mean what they mean by EUCLEAN. */
	bool damage;
};

/*
 * A call's -errno, in a room whose readers say -EBADMSG of bytes: the file
 * system's becomes -EUCLEAN.
 */
static inline int
fault_of_call(int rc)
{
	return rc == -EBADMSG ? -EUCLEAN : rc;
}

/*
 * "OBJECT: CALL: WHAT: EFFECT: REMEDY: COMMAND" into buf; of a long object only
 * the end, behind dots, if the rest does not fit else. What does not fit even
 * so is cut at `size`. Returns buf.
 */
char *fault_text(char *buf, size_t size, const struct fault *f);
/* "" if there is none. */
const char *fault_remedy(int error, enum fault_place place);
enum fault_kind fault_kind(int error, enum fault_place place);
/* The same, of an EBADMSG by who said so. */
enum fault_kind fault_kind_of(const struct fault *f);
/*
 * Such a text with words around it; what is too long loses its beginning, to
 * dots, since what to do is at its end. Returns buf.
 */
char *fault_text_in(char *buf, size_t size, const char *before,
    const char *text, const char *behind);
/* Of a node that waits no longer: "goes on by itself" is cut out of a text. */
void fault_final(char *text);

#endif
