/*
 * Reading a file's map. What the disk does not give is SIGBUS there, which
 * would end the process; within map_read() it is an error like others.
 */
#ifndef SHM_MAP_READ_H
#define SHM_MAP_READ_H

/*
 * To be called once in a process that reads by map_read(). A SIGBUS elsewhere
 * ends it as ever.
 */
void map_read_open(void);
/*
 * fn(arg): its result, or -EIO. fn is left in its middle then: it must not
 * have taken anything that is to be given back. Not to be nested.
 */
int map_read(int (*fn)(void *arg), void *arg);

#endif
