/* SPDX-License-Identifier: GPL-3.0-or-later */
/* See supervisor.h, and background.c for the whole picture. */
#include "supervisor.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	TERM_MS = 3000,	 /* for stress-ng to stop and write its metrics */
	KILL_MS = 10000, /* until the last descendant is gone */
	LOOK_MS = 10,
};

static void sleep_ms(unsigned int ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

static bool read_process(const char *pid, struct tm_process *p)
{
	char path[64], text[512], *open_at, *close_at;
	unsigned long long user, system;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%.16s/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	open_at = strchr(text, '(');
	close_at = strrchr(text, ')');
	if (!open_at || !close_at)
		return false;
	*close_at = '\0';
	snprintf(p->name, sizeof(p->name), "%.31s", open_at + 1);
	p->pid = atoi(pid);
	if (sscanf(close_at + 1, " %c %d %d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &p->state,
		   &p->parent, &p->group, &user, &system) != 5)
		return false;
	p->ticks = user + system;
	return true;
}

void tm_each_process(void (*visit)(const struct tm_process *, void *), void *argument)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	struct tm_process p;

	while (dir && (entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]) && read_process(entry->d_name, &p))
			visit(&p, argument);
	if (dir)
		closedir(dir);
}

void tm_load_execute(const struct tm_load_command *c)
{
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	sigemptyset(&none);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, STDIN_FILENO);
	dup2(c->log_fd, STDOUT_FILENO);
	dup2(c->log_fd, STDERR_FILENO);
	execv(c->program, c->argv);
	dprintf(STDERR_FILENO, "%s: %s\n", c->program, strerror(errno));
	_exit(127);
}

static void kill_own_child(const struct tm_process *p, void *self)
{
	if (p->parent == *(pid_t *)self && p->state != 'Z')
		kill(p->pid, SIGKILL);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	remove(path);
	return 0;
}

void tm_load_remove(const char *directory)
{
	nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Reaps what has ended; true while `load` has not, *left while anything is left. */
static bool reap(pid_t *load, bool *left)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		if (pid == *load)
			*load = -1;
	*left = !(pid < 0 && errno == ECHILD);
	return *load > 0;
}

static void end_all(pid_t load, bool politely)
{
	pid_t self = getpid();
	bool left = true;

	if (politely && load > 0) {
		kill(-load, SIGTERM);
		for (unsigned int ms = 0; ms < TERM_MS && reap(&load, &left); ms += LOOK_MS)
			sleep_ms(LOOK_MS);
	}
	if (load > 0)
		kill(-load, SIGKILL);
	/* Whoever loses its parent becomes ours, so this gets to the last one. */
	for (unsigned int ms = 0; ms < KILL_MS; ms += LOOK_MS) {
		tm_each_process(kill_own_child, &self);
		reap(&load, &left);
		if (!left)
			return;
		sleep_ms(LOOK_MS);
	}
}

/* From 3 on. What the caller had open may be what another waits for the end of. */
static void close_others(const int *keep, unsigned int count)
{
	int fd = 3, next;

	do {
		next = INT_MAX;
		for (unsigned int i = 0; i < count; i++)
			if (keep[i] >= fd && keep[i] < next)
				next = keep[i];
		if (next > fd)
			close_range((unsigned int)fd, (unsigned int)next - 1, 0);
		fd = next < INT_MAX ? next + 1 : next;
	} while (fd < INT_MAX);
}

void tm_load_supervise(const struct tm_load_command *c, pid_t parent, int parent_fd, int control,
		       int report)
{
	const int keep[] = {control, report, parent_fd, c->yaml_fd, c->log_fd};
	int null = open("/dev/null", O_RDWR);
	bool asked = false, left = true;
	struct pollfd fds[3];
	sigset_t signals;
	pid_t load;

	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "tlbmark-load");
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close_others(keep, sizeof(keep) / sizeof(keep[0]));
	sigfillset(&signals);
	sigprocmask(SIG_SETMASK, &signals, NULL);
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	fds[0] = (struct pollfd){.fd = control, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = signalfd(-1, &signals, SFD_CLOEXEC), .events = POLLIN};
	fds[2] = (struct pollfd){.fd = parent_fd, .events = POLLIN};
	load = fork();
	if (!load) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		fcntl(c->yaml_fd, F_SETFD, 0);
		tm_load_execute(c);
	}
	if (load > 0) {
		setpgid(load, load);
		if (write(report, &load, sizeof(load)) != sizeof(load))
			kill(-load, SIGKILL);
	}
	/* Without a pidfd, look for our parent four times a second. */
	while (load > 0 && !asked && getppid() == parent) {
		if (poll(fds, 3, parent_fd < 0 ? 250 : -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents) {
			struct signalfd_siginfo info;

			if (read(fds[1].fd, &info, sizeof(info)) == sizeof(info))
				asked = info.ssi_signo == SIGTERM;
			reap(&load, &left);
		}
		asked = asked || fds[0].revents;
	}
	end_all(load, getppid() == parent);
	tm_load_remove(c->directory);
	_exit(0);
}
