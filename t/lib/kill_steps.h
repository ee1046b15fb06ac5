/*
 * A function in a child that is killed right before or after its nth system
 * call: with n from 0 until it is through, everywhere that another process can
 * tell apart.
 */
#ifndef T_LIB_KILL_STEPS_H
#define T_LIB_KILL_STEPS_H

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEP_NO_PTRACE 255

/* 1: killed there; 0: it was through before; -EPERM: not allowed here. */
static inline int
killed_at(unsigned n, void (*run)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(STEP_NO_PTRACE);
		raise(SIGSTOP);
		run();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	for (unsigned i = 0; i < n && WIFSTOPPED(status); i++)
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) != 0 ||
		    waitpid(pid, &status, 0) != pid)
			return -errno;
	if (!WIFSTOPPED(status))
		return WEXITSTATUS(status) == STEP_NO_PTRACE ? -EPERM : 0;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return 1;
}

#endif
