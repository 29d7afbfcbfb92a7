/*
 * How a command gets into the virtual machine and back. Each command has two TCP connections, which a 16 byte id of the
 * client's choice ties together. Both begin with a kind ('C' control, 'D' data) and the id.
 *
 * data     stdin upwards, stdout downwards, as they are; the end of either is a half-closed connection
 * control  upwards: struct request, then `size` bytes of strings that end in NUL: the working directory, `argc` arguments,
 *          `envc` variables; later one byte per signal to pass on. Losing the connection kills the command (SIGKILL).
 *          downwards: frames of struct frame and `size` bytes: ERR (some of stderr), END (wait status, 4 bytes)
 * Numbers are in the byte order of the machine, which is the same on both sides.
 */
#pragma once
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ID_SIZE = 16, AGENT_PORT = 7000, ON_HOST_ROOT = 1, MAX_REQUEST = 1 << 20 };
enum frame_kind { ERR = 1, END = 2 };

struct hello { char kind; char id[ID_SIZE]; };
struct request { uint32_t flags, argc, envc, size; };
struct frame { uint32_t kind, size; };

/* 0 when all bytes have arrived. */
static inline int receive_all(int fd, void *to, size_t size) {
  for (char *p = to; size > 0;) {
    ssize_t got = read(fd, p, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return -1;
    p += got; size -= got;
  }
  return 0;
}

/* 0 when all bytes are on their way. A socket that is gone is an error, not a signal. */
static inline int send_all(int fd, const void *from, size_t size) {
  for (const char *p = from; size > 0;) {
    ssize_t sent = send(fd, p, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return -1;
    p += sent; size -= sent;
  }
  return 0;
}
