/*
 * Processes for fs_test; see fs_test_stub.c.
 */
#ifndef T_SIM_NODE_FS_TEST_STUB_H
#define T_SIM_NODE_FS_TEST_STUB_H

#include "t/sim/node/sim.h"

void stub_begin(uint64_t seed);
/*
 * Let them run until none can, or for so many points. True: all have ended.
 */
bool stub_run(uint64_t points);
void stub_kill_all(void);
bool stub_waits(int pid); /* in sim_block() */

#endif
