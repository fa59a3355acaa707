// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The lab guest's first process, and all that there is of user space besides
 * the command: mounts what the kernel has, loads the modules, runs the command
 * and sends back what it left. kernels/lab/boot holds the other ends:
 *
 *	ttyS0	the console
 *	ttyS1	the command's standard output
 *	ttyS2	records as JSON lines, "<N>..." lines of the kernel's log, and at
 *		last "end STATUS"; without that line something went wrong
 *	ttyS3	the command's standard error, and complaints of this program
 *
 * Read from /lab: `command` (the argument vector), `environment`, both with a
 * NUL behind each string, and `modules`, a line "FILE<TAB>PARAMETERS" each.
 *
 * Static, and no shell: a tinyconfig kernel runs neither scripts nor much else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#ifdef __x86_64__
#include <sys/io.h>
#endif

#include <tlbmark/arch.h>

#define STORE "/tmp/records.db"

enum {
	ARGUMENTS_MAX = 1024,
	MODULES_MAX = 64,
	EXIT_PORT = 0xf4, /* isa-debug-exit */
	PAUSE_TURNS = 10000,
	STATUS_FAILED = 1,
	STATUS_CANNOT = 3, /* as in bench/cli.h */
	/* syslog(2) */
	LOG_READ_ALL = 3,
	LOG_CONSOLE_LEVEL = 8,
	LOG_SIZE = 10,
	LEVEL_WARNING = 5, /* what is shown: warnings and worse */
};

/* The serial ports besides the console; -1 until they are open. */
static int out_port = -1, result_port = -1, error_port = -1;
static char *command[ARGUMENTS_MAX], *environment[ARGUMENTS_MAX];
static char *loaded[MODULES_MAX];
static size_t loaded_count;

/* One line on the error port; on the console as long as there is none. */
static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void complain(const char *format, ...)
{
	int fd = error_port < 0 ? STDERR_FILENO : error_port;
	va_list ap;

	va_start(ap, format);
	dprintf(fd, "lab: ");
	vdprintf(fd, format, ap);
	dprintf(fd, "\n");
	va_end(ap);
}

/* ---- the guest's file systems ---- */

static const struct {
	const char *type, *where, *options;
} mounts[] = {
	{"devtmpfs", "/dev", NULL},
	{"proc", "/proc", NULL},
	{"sysfs", "/sys", NULL},
	{"tmpfs", "/tmp", "mode=1777"},
	{"tmpfs", "/run", "mode=755"},
	{"tmpfs", "/dev/shm", "mode=1777"},
	{"tracefs", "/sys/kernel/tracing", NULL},
	{"debugfs", "/sys/kernel/debug", NULL},
	{"bpf", "/sys/fs/bpf", NULL},
	{"cgroup2", "/sys/fs/cgroup", NULL},
};

/* For a kernel without devtmpfs. */
static const struct {
	const char *path;
	unsigned int major, minor;
} devices[] = {
	{"/dev/null", 1, 3},  {"/dev/zero", 1, 5},   {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9},
	{"/dev/kmsg", 1, 11}, {"/dev/ttyS1", 4, 65}, {"/dev/ttyS2", 4, 66}, {"/dev/ttyS3", 4, 67},
};

/* What a kernel lacks stays unmounted: the suite says itself what it misses. */
static void mount_all(void)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, MS_NOSUID,
			  mounts[i].options) &&
		    errno != EBUSY)
			complain("no %s at %s: %s", mounts[i].type, mounts[i].where,
				 strerror(errno));
	}
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor));
}

/* ---- serial ports ---- */

static int open_port(const char *path)
{
	struct termios t;
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0 && !tcgetattr(fd, &t)) {
		cfmakeraw(&t);
		cfsetspeed(&t, B115200);
		t.c_cflag |= CLOCAL;
		tcsetattr(fd, TCSANOW, &t);
	}
	return fd;
}

static bool open_ports(void)
{
	int null = open("/dev/null", O_RDWR);

	/*
	 * ttyS0 and ttyS2 have one interrupt, ttyS1 and ttyS3 another. Where the
	 * kernel cannot share it, the first to open has it: not the console.
	 */
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	result_port = open_port("/dev/ttyS2");
	out_port = open_port("/dev/ttyS1");
	error_port = open_port("/dev/ttyS3");
	if (error_port < 0)
		error_port = out_port;
	return result_port >= 0 && out_port >= 0;
}

/* ---- what the host asks for ---- */

/* The file's bytes and a NUL behind them; NULL where it is not there. */
static char *slurp(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *text = NULL;

	if (fd < 0)
		return NULL;
	if (!fstat(fd, &st))
		text = calloc(1, (size_t)st.st_size + 1);
	if (text)
		*size = (size_t)read(fd, text, (size_t)st.st_size);
	close(fd);
	return text;
}

/* A file of NUL-terminated strings as a vector with NULL at its end. */
static void read_vector(const char *path, char *vector[ARGUMENTS_MAX])
{
	size_t size = 0, count = 0;
	char *text = slurp(path, &size);

	for (size_t at = 0; text && at < size && count + 1 < ARGUMENTS_MAX;) {
		vector[count++] = text + at;
		at += strlen(text + at) + 1;
	}
	vector[count] = NULL;
}

/* ---- modules ---- */

static bool load(char *file, const char *parameters)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	long rc = fd < 0 ? -1 : syscall(SYS_finit_module, fd, parameters, 0);
	char *dot;

	if (rc)
		complain("the module %s cannot be loaded: %s", file, strerror(errno));
	if (fd >= 0)
		close(fd);
	dot = strrchr(file, '.');
	if (rc || !dot || loaded_count == MODULES_MAX)
		return false;
	/* The kernel's name for it. */
	*dot = '\0';
	for (char *c = file; *c; c++)
		*c = *c == '-' ? '_' : *c;
	loaded[loaded_count++] = file;
	return true;
}

static bool load_all(void)
{
	size_t size;
	char *text = slurp("/lab/modules", &size), *line;

	while (text && (line = strsep(&text, "\n"))) {
		char *parameters = line;
		char *file = strsep(&parameters, "\t");

		if (*file && !load(file, parameters ? parameters : ""))
			return false;
	}
	return true;
}

/* The other way round. One that stays was left in use: that is a failure, too. */
static bool unload_all(void)
{
	bool all = true;

	while (loaded_count) {
		const char *name = loaded[--loaded_count];

		if (!syscall(SYS_delete_module, name, O_NONBLOCK))
			continue;
		complain("the module %s cannot be unloaded: %s", name, strerror(errno));
		all = false;
	}
	return all;
}

/* ---- disks ---- */

/*
 * Ram disks, where the kernel has them: one to swap to, the others for whoever
 * needs pages of a file. (A file system would need a program to make it.)
 */
#define SWAP "/dev/ram0"
#define DISKS "/dev/ram1:/dev/ram2"

/* As mkswap(8): a page that says so at its end, and how many pages there are. */
static bool make_swap(int fd)
{
	long page_bytes = sysconf(_SC_PAGESIZE);
	off_t pages = lseek(fd, 0, SEEK_END) / page_bytes;
	char page[65536] = "";
	uint32_t head[] = {1, (uint32_t)pages - 1};

	memcpy(page + 1024, head, sizeof(head));
	memcpy(page + page_bytes - 10, "SWAPSPACE2", 10);
	return pages > 10 && pwrite(fd, page, (size_t)page_bytes, 0) == page_bytes;
}

/* What was read ahead and not used would be reclaimed in place of what was. */
static void no_read_ahead(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) < 0)
		complain("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void add_disks(void)
{
	int fd = open(SWAP, O_RDWR | O_CLOEXEC);
	bool made = fd >= 0 && make_swap(fd);

	if (fd < 0)
		return;
	close(fd);
	if (!made || swapon(SWAP, 0))
		complain("no swap: %s", strerror(errno));
	no_read_ahead("/sys/block/ram1/queue/read_ahead_kb");
	no_read_ahead("/sys/block/ram2/queue/read_ahead_kb");
	setenv("TLBMARK_DEVICES", DISKS, 0);
}

/* What is groups' own below it; others do without. */
static void share_memory_controller(void)
{
	int fd = open("/sys/fs/cgroup/cgroup.subtree_control", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "+memory", 7) < 0)
		complain("cgroups cannot limit memory: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* ---- processes ---- */

static void woken(int signal)
{
	(void)signal;
}

/* What a stream of the command's goes through: the port, or a pipe to be copied there. */
struct stream {
	int port, from, to;
};

static bool open_stream(struct stream *s, int port, const char *terminal)
{
	int ends[2];

	*s = (struct stream){.port = port, .from = -1, .to = port};
	if (getenv(terminal))
		return true;
	if (pipe2(ends, O_CLOEXEC))
		return false;
	s->from = ends[0];
	s->to = ends[1];
	fcntl(s->from, F_SETFL, O_NONBLOCK);
	return true;
}

static void send_all(int fd, const char *bytes, size_t size)
{
	while (size) {
		ssize_t n = write(fd, bytes, size);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			bytes += n;
			size -= (size_t)n;
		}
	}
}

static void copy_stream(struct stream *s)
{
	char buffer[4096];
	ssize_t n = -1;

	while (s->from >= 0 && (n = read(s->from, buffer, sizeof(buffer))) > 0)
		send_all(s->port, buffer, (size_t)n);
	if (!n) {
		close(s->from);
		s->from = -1;
	}
}

static int status_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Every child, strays too; true with the status once `pid` is among them. */
static bool reap(pid_t pid, int *status)
{
	bool found = false;
	pid_t dead;
	int how;

	while ((dead = waitpid(-1, &how, WNOHANG)) > 0) {
		if (dead == pid) {
			*status = status_of(how);
			found = true;
		}
	}
	return found;
}

static pid_t start(char *const *argv, int out, int err)
{
	sigset_t none;
	pid_t pid = fork();
	int null;

	if (pid)
		return pid;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	null = open("/dev/null", O_RDONLY);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	execvp(argv[0], argv);
	complain("cannot start %s: %s", argv[0], strerror(errno));
	_exit(STATUS_CANNOT);
}

/* Sleeps unless there is something to do: no CPU is disturbed by a tick of ours. */
static int run(char *const *argv)
{
	struct stream out, err;
	sigset_t mask, before;
	int status = STATUS_CANNOT;
	pid_t pid;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, &before);
	if (!open_stream(&out, out_port, "LAB_OUT_TTY") ||
	    !open_stream(&err, error_port, "LAB_ERROR_TTY"))
		return STATUS_CANNOT;
	pid = start(argv, out.to, err.to);
	while (pid > 0 && !reap(pid, &status)) {
		struct pollfd fds[] = {{.fd = out.from, .events = POLLIN},
				       {.fd = err.from, .events = POLLIN}};

		ppoll(fds, 2, NULL, &before);
		copy_stream(&out);
		copy_stream(&err);
	}
	/* When nobody is left, what is in the pipes is all, and no module is in use. */
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	copy_stream(&out);
	copy_stream(&err);
	return status;
}

/* ---- what goes back ---- */

/* The suite writes its records itself: it knows its store. */
static bool send_records(void)
{
	char *const export[] = {"tlbmark", "show", "--json", "all", NULL};
	pid_t pid;
	int status;

	if (access(STORE, F_OK))
		return true;
	pid = start(export, result_port, error_port);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		complain("the records cannot be sent");
		return false;
	}
	return true;
}

static void send_log(void)
{
	int size = klogctl(LOG_SIZE, NULL, 0);
	char *text = size > 0 ? malloc((size_t)size) : NULL;

	size = text ? klogctl(LOG_READ_ALL, text, size) : 0;
	if (size > 0)
		send_all(result_port, text, (size_t)size);
	free(text);
}

/* The port in QEMU that ends it at once; else as any machine. */
static void __attribute__((noreturn)) leave(int status)
{
	if (result_port >= 0) {
		dprintf(result_port, "\nend %d\n", status);
		tcdrain(result_port);
		tcdrain(out_port);
		tcdrain(error_port);
	}
#ifdef __x86_64__
	if (!ioperm(EXIT_PORT, 4, 1))
		outl(0, EXIT_PORT);
#endif
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static bool all_online(void)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	const char *wanted = getenv("LAB_CPUS");

	if (!wanted || online == atol(wanted))
		return true;
	complain("%ld of %s CPUs came up", online, wanted);
	return false;
}

/* Pauses for ever, for bring_up(). Now and then: to change CPUs takes the emulator longest. */
static pid_t start_pausing(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	for (;;) {
		tm_count_down(PAUSE_TURNS);
		tm_relax();
	}
}

/*
 * In the deterministic mode the guest starts with one CPU (kernels/lab/boot).
 * The emulator runs its CPUs in turns, and a turn ends at a pause or when a timer is
 * due; who comes then gets none before the next is due. Before Linux 6.5 the
 * kernel waits for a new CPU without a pause: it would wait for ever. So
 * somebody else pauses meanwhile.
 */
static void bring_up(unsigned int cpus)
{
	pid_t pausing = start_pausing();

	for (unsigned int cpu = 1; cpu < cpus; cpu++) {
		char path[64];
		int fd;

		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
		fd = open(path, O_WRONLY);
		/* all_online() tells of what does not start. */
		if (fd >= 0)
			(void)!write(fd, "1", 1);
		close(fd);
	}
	if (pausing > 0) {
		kill(pausing, SIGKILL);
		waitpid(pausing, NULL, 0);
	}
}

static int guest(void)
{
	const char *cpus = getenv("LAB_BRING_UP");
	int status;

	if (!command[0]) {
		complain("/lab/command names no program");
		return STATUS_CANNOT;
	}
	if (cpus)
		bring_up((unsigned int)atoi(cpus));
	if (!all_online() || !load_all())
		return STATUS_FAILED;
	klogctl(LOG_CONSOLE_LEVEL, NULL, LEVEL_WARNING);
	if (!cpus) {
		add_disks();
		share_memory_controller();
	}
	status = run(command);
	swapoff(SWAP);
	if ((!send_records() || !unload_all()) && !status)
		status = STATUS_FAILED;
	return status;
}

int main(void)
{
	struct sigaction act = {.sa_handler = woken};
	int status = STATUS_CANNOT;

	sigaction(SIGCHLD, &act, NULL);
	mount_all();
	setenv("PATH", "/lab", 1);
	read_vector("/lab/environment", environment);
	for (size_t i = 0; environment[i]; i++)
		putenv(environment[i]);
	read_vector("/lab/command", command);
	if (!chdir("/lab") && open_ports()) {
		status = guest();
		send_log();
	}
	leave(status);
}
