/* In the virtual machine: runs the commands that proxies outside (proxy.c) ask for, root's rights and all. */
#define _GNU_SOURCE
#include "protocol.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* Data connections that wait for their control connection. */
static struct waiting { char id[ID_SIZE]; int fd; struct waiting *next; } *waiting;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;

static void announce(const char *id, int fd) {
  struct waiting *entry = malloc(sizeof *entry);
  memcpy(entry->id, id, ID_SIZE);
  entry->fd = fd;
  pthread_mutex_lock(&lock);
  entry->next = waiting;
  waiting = entry;
  pthread_cond_broadcast(&arrived);
  pthread_mutex_unlock(&lock);
}

/* The data connection with this id, or -1 when it does not come within a minute. */
static int await_data(const char *id) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 60;
  int fd = -1, late = 0;
  pthread_mutex_lock(&lock);
  while (fd < 0 && !late) {
    for (struct waiting **at = &waiting; *at; at = &(*at)->next) {
      if (memcmp((*at)->id, id, ID_SIZE)) continue;
      struct waiting *entry = *at;
      fd = entry->fd;
      *at = entry->next;
      free(entry);
      break;
    }
    if (fd < 0) late = pthread_cond_timedwait(&arrived, &lock, &until) != 0;
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

struct job { struct request request; char *directory, **arguments, **variables; };

static int read_job(int fd, struct job *job) {
  struct request *r = &job->request;
  if (receive_all(fd, r, sizeof *r) || r->size == 0 || r->size > MAX_REQUEST || r->argc == 0) return -1;
  if (r->argc > r->size || r->envc > r->size) return -1;
  char *text = malloc(r->size), *end = text + r->size;
  if (receive_all(fd, text, r->size) || end[-1] != 0) return -1;
  char **strings = calloc(r->argc + r->envc + 3, sizeof *strings), **into = strings;
  for (uint32_t i = 0; i < 1 + r->argc + r->envc; i++) {
    if (text >= end) return -1;
    if (i == 1 + r->argc) into++; /* the NULL that ends the arguments */
    *into++ = text;
    text += strlen(text) + 1;
  }
  job->directory = strings[0];
  job->arguments = strings + 1;
  job->variables = strings + 2 + r->argc;
  return 0;
}

/*
 * OpenZFS 2.3 may deadlock when a zvol's device is closed while a receive or rollback has the zvol suspended (its issue
 * 17923), and zvol-links opens devices to learn their names: so the two exclude each other.
 */
static int suspends_zvols(char **arguments) {
  if (strcmp(arguments[0], "zfs") || !arguments[1]) return 0;
  const char *const verbs[] = { "receive", "recv", "rollback", "rename", "destroy" };
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) if (!strcmp(arguments[1], verbs[i])) return 1;
  return 0;
}

static void become(const struct job *job, int in, int out, int err) {
  setsid();
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  signal(SIGPIPE, SIG_DFL);
  if (suspends_zvols(job->arguments)) {
    int held = open("/run/zvol-links.lock", O_CREAT | O_RDWR, 0600);
    if (held >= 0) flock(held, LOCK_SH);
  }
  clearenv();
  if (job->request.flags & ON_HOST_ROOT) {
    if (chroot("/host") || chdir(job->directory)) { perror("vm: the machine outside is not shared"); _exit(125); }
    for (char **v = job->variables; *v; v++) putenv(*v);
    /* The proxies work from here, too, over this machine's own loopback. */
    putenv("OPENZFS_VM=127.0.0.1:7000");
  } else {
    putenv("PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    putenv("HOME=/root");
    putenv("LC_ALL=C");
    putenv("ZFS_VDEV_DEVID_OPT_OUT=YES"); /* without udev an import waits 3 s for it */
  }
  execvp(job->arguments[0], job->arguments);
  fprintf(stderr, "vm: %s: %s\n", job->arguments[0], strerror(errno));
  _exit(127);
}

struct pump { int from, to; };

/* Into a pipe and from there into the socket: into a socket, zfs send uses splice, which is three times slower. */
static void *pump(void *argument) {
  struct pump *p = argument;
  char *buffer = malloc(1 << 20);
  for (;;) {
    ssize_t got = read(p->from, buffer, 1 << 20);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || send_all(p->to, buffer, got)) break;
  }
  close(p->from);
  shutdown(p->to, SHUT_WR);
  free(buffer);
  return NULL;
}

static int tell(int control, uint32_t kind, const void *bytes, uint32_t size) {
  struct frame frame = { kind, size };
  return send_all(control, &frame, sizeof frame) || send_all(control, bytes, size) ? -1 : 0;
}

/* Passes signals and stderr on until the command has ended; kills it when the proxy is gone. */
static int supervise(int control, pid_t child, int err) {
  char buffer[65536];
  int there = 1, saying = 1, status = 0, end = syscall(SYS_pidfd_open, child, 0);
  for (;;) {
    struct pollfd events[] = {
      { saying ? err : -1, POLLIN, 0 }, { there ? control : -1, POLLIN | POLLRDHUP, 0 }, { end, POLLIN, 0 },
    };
    if (poll(events, 3, -1) < 0) continue;
    if (events[0].revents) {
      ssize_t got = read(err, buffer, sizeof buffer);
      if (got <= 0) saying = 0;
      else if (there && tell(control, ERR, buffer, got)) there = 0;
    }
    if (events[1].revents) {
      ssize_t got = recv(control, buffer, 1, MSG_DONTWAIT);
      if (got == 1) kill(-child, buffer[0]);
      else if (got == 0 || errno != EAGAIN) { there = 0; kill(-child, SIGKILL); }
    }
    if (events[2].revents && !(events[0].revents & POLLIN)) break; /* it is gone, and so is what it said */
  }
  close(end);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR);
  return status;
}

static void serve(int control, const char *id) {
  struct job job;
  int data, err[2], out[2];
  if (read_job(control, &job) || (data = await_data(id)) < 0) return;
  if (pipe2(err, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) return;
  fcntl(out[0], F_SETPIPE_SZ, 1 << 20);
  pid_t child = fork();
  if (child == 0) become(&job, data, out[1], err[1]);
  close(err[1]);
  close(out[1]);
  pthread_t pumping;
  struct pump p = { out[0], data };
  pthread_create(&pumping, NULL, pump, &p);
  int status = supervise(control, child, err[0]);
  close(err[0]);
  tell(control, END, &status, sizeof status);
  pthread_join(pumping, NULL);
  /* What the command has not read of its stdin: closing a socket with unread bytes would reset it, stdout included. */
  char rest[65536];
  while (read(data, rest, sizeof rest) > 0);
  close(data);
}

static void *connection(void *argument) {
  int fd = (int)(long)argument, one = 1;
  struct hello hello;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (!receive_all(fd, &hello, sizeof hello)) {
    if (hello.kind == 'D') { announce(hello.id, fd); return NULL; }
    if (hello.kind == 'C') serve(fd, hello.id);
  }
  close(fd);
  return NULL;
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(AGENT_PORT), .sin_addr.s_addr = INADDR_ANY };
  if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 64)) { perror("agent"); return 1; }
  puts("agent listens");
  fflush(stdout);
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    pthread_t thread;
    pthread_attr_t attributes;
    if (fd < 0) continue;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, connection, (void *)(long)fd)) close(fd);
  }
}
