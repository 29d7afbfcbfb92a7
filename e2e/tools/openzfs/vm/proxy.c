/*
 * vm [--host] COMMAND [ARGUMENT...]: runs a command in the virtual machine with this process's stdin, stdout, stderr and exit
 * status. Under another name (a link called zfs, zpool, ...) it runs the command of that name. --host runs it in the root
 * directory of the machine outside, as the virtual machine sees it, with this working directory and environment.
 * OPENZFS_VM is the agent's address, 127.0.0.1:PORT. When the machine does not answer, the exit status is 125.
 */
#define _GNU_SOURCE
#include "protocol.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/time.h>
#include <sys/wait.h>

extern char **environ;
static int control = -1, data = -1;

static void fail(const char *what) {
  fprintf(stderr, "vm: %s: %s\n", what, strerror(errno));
  _exit(125);
}

static int dial(char kind, const char *id) {
  const char *address = getenv("OPENZFS_VM");
  int port = 0, one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (!address || sscanf(address, "127.0.0.1:%d", &port) != 1) { errno = EINVAL; fail("OPENZFS_VM"); }
  struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) fail("cannot reach the virtual machine");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct hello hello = { .kind = kind };
  memcpy(hello.id, id, ID_SIZE);
  if (send_all(fd, &hello, sizeof hello)) fail("cannot reach the virtual machine");
  return fd;
}

static char strings[MAX_REQUEST];
static uint32_t used;

static void add(const char *text) {
  size_t size = strlen(text) + 1;
  if (used + size > sizeof strings) { errno = E2BIG; fail("command"); }
  memcpy(strings + used, text, size);
  used += size;
}

static void pass_on(int number) {
  char byte = (char)number;
  send(control, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void *feed(void *unused) {
  (void)unused;
  static char buffer[1 << 18];
  for (;;) {
    ssize_t got = read(0, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || send_all(data, buffer, got)) break;
  }
  shutdown(data, SHUT_WR);
  return NULL;
}

/* Writing to a reader that is gone ends this process (SIGPIPE), and with it the command. */
static void *drain(void *unused) {
  (void)unused;
  static char buffer[1 << 18];
  for (;;) {
    ssize_t got = read(data, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return NULL;
    for (ssize_t done = 0; done < got;) {
      ssize_t written = write(1, buffer + done, got - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("stdout");
      done += written;
    }
  }
}

static int follow(void) {
  struct frame frame;
  static char buffer[1 << 16];
  while (!receive_all(control, &frame, sizeof frame) && frame.size <= sizeof buffer) {
    if (receive_all(control, buffer, frame.size)) break;
    if (frame.kind == END) return *(int *)buffer;
    for (uint32_t done = 0; done < frame.size;) {
      ssize_t written = write(2, buffer + done, frame.size - done);
      if (written < 0 && errno != EINTR) break;
      if (written > 0) done += written;
    }
  }
  errno = ECONNRESET;
  fail("the virtual machine went away");
  return -1;
}

int main(int argc, char **argv) {
  const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
  struct request request = { 0 };
  int first = 1;
  if (strcmp(name, "vm")) { argv[0] = (char *)name; first = 0; }
  else if (argc > 1 && !strcmp(argv[1], "--host")) { request.flags = ON_HOST_ROOT; first = 2; }
  if (first >= argc) { fputs("usage: vm [--host] COMMAND [ARGUMENT...]\n", stderr); return 125; }

  char here[4096], id[ID_SIZE];
  add(getcwd(here, sizeof here) ? here : "/");
  for (int i = first; i < argc; i++, request.argc++) add(argv[i]);
  if (request.flags & ON_HOST_ROOT) for (char **e = environ; *e; e++, request.envc++) add(*e);
  request.size = used;

  if (getrandom(id, sizeof id, 0) != sizeof id) fail("random");
  control = dial('C', id);
  if (send_all(control, &request, sizeof request) || send_all(control, strings, used)) fail("cannot reach the virtual machine");
  data = dial('D', id);
  for (const int *s = (const int[]){ SIGTERM, SIGINT, SIGHUP, SIGUSR1, 0 }; *s; s++) {
    struct sigaction action = { .sa_handler = pass_on, .sa_flags = SA_RESTART };
    sigaction(*s, &action, NULL);
  }
  pthread_t feeder, drainer;
  pthread_create(&feeder, NULL, feed, NULL);
  pthread_create(&drainer, NULL, drain, NULL);
  int status = follow();
  pthread_join(drainer, NULL);
  if (WIFSIGNALED(status)) { signal(WTERMSIG(status), SIG_DFL); raise(WTERMSIG(status)); }
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 125);
}
