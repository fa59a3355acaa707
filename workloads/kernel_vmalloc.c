// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * kernel_vmalloc: one operation makes the kernel map memory in its own range,
 * or take it out, from user space and without a module.
 *
 * Kernel mappings belong to every CPU, so their flush interrupts all CPUs,
 * whatever process runs there: flush_tlb_kernel_range() -> on_each_cpu() with
 * do_kernel_range_flush(), or do_flush_tlb_all() over the ceiling. Neither
 * counts in the TLB line of /proc/interrupts: CAL does.
 *
 * Two kinds (--object):
 * - secretmem: the first touch of a page of memfd_secret(2), which takes the
 *   page out of the kernel's direct map: set_direct_map_invalid_noflush() and
 *   a flush of that page, every time. (Now and then the direct map's own huge
 *   page is split: one more flush, of all; it stays split until reboot, so few
 *   pages are used over and over.)
 * - the others map by vmalloc() or vmap() and give back: bpf_array and
 *   bpf_ringbuf (created and closed, --bytes each), socket_filter (attached
 *   and detached: a page or two), pty (opened and closed: the line
 *   discipline's buffers), threads (16 kernel stacks at once; two a CPU are
 *   cached). vfree() only notes the area: the flush comes when
 *   fls(CPUs) x 32 MiB are noted, for all at once, in
 *   __purge_vmap_area_lazy(). Two modes: most operations interrupt nobody, one
 *   in about fls(CPUs) x 32 MiB / size pays. Since Linux 5.18 a kernel worker
 *   purges, often on the initiator's CPU and in the midst of a later
 *   operation; so look at the tail and at the interrupts an operation, not at
 *   the mean.
 *
 * Timed: the calls named above, with allocation and clearing of the memory.
 * Not timed: frees that the kernel defers (RCU, workers). Tried and found to
 * flush nothing of the kernel's range, as contiguous pages do for them:
 * io_uring rings, keys of 32 KiB, packet rings, large pipes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "room.h"
#include "witness.h"

enum { PARAM_OBJECT, PARAM_BYTES };
enum {
	BPF_LD_IMM_DW = 0x18, /* BPF_LD | BPF_IMM | BPF_DW, of which two are 0 */
	BLOCK_BYTES = 4096,   /* of a map's element */
	SECRET_PAGES = 64,
	THREADS = 16,
	STACK_BYTES = 16384,
	OUTSTANDING = 64, /* maps that may wait to be freed, for the guard against OOM */
};

static const char *const source_names[] = {"bpf_array", "bpf_ringbuf", "secretmem", "socket_filter",
					   "pty",	"threads",     NULL};

static const struct tm_param params[] = {
	{.name = "object",
	 .unit = "",
	 .help = "what makes the kernel map and unmap",
	 .kind = TM_PARAM_CHOICE,
	 .choices = source_names,
	 .def = "bpf_array",
	 .plan = "bpf_array,secretmem",
	 .full = "bpf_array,bpf_ringbuf,secretmem,socket_filter,pty,threads"},
	{.name = "bytes",
	 .unit = "bytes",
	 .help = "size of a BPF map (a power of two for bpf_ringbuf); the others have their own",
	 .kind = TM_PARAM_UINT,
	 .min = 64 << 10,
	 .max = 1u << 30,
	 .def = "1048576"},
	{.name = NULL},
};

struct slot {
	size_t bytes, page_bytes;
	int fd[2];
	char *secret;
	unsigned int secret_next;
	char *stacks;
	_Atomic uint32_t tid[THREADS];	       /* the kernel clears it at a thread's end */
	uint32_t born[THREADS], said[THREADS]; /* tids by clone() and by the thread itself */
};

/* How a source does it; functions return 0 or -errno. */
struct source {
	int (*open)(struct slot *);  /* once */
	int (*ready)(struct slot *); /* untimed, before each operation; may be NULL */
	int (*once)(struct slot *);  /* the operation */
	int (*check)(struct tm_thread *, struct slot *, struct tm_verdict *); /* of the oracle */
	const char *hint; /* what to do where it cannot */
};

struct state {
	const struct source *source;
	unsigned int count;
	struct slot slot[];
};

/* ---- the oracle's help ---- */

/* Moves to another CPU than now, so that the next system call uses its translations. */
static int hop(uint64_t turn)
{
	cpu_set_t all;
	unsigned int count;

	tm_roam(-1);
	if (sched_getaffinity(0, sizeof(all), &all))
		return -errno;
	count = (unsigned int)CPU_COUNT(&all);
	turn %= count;
	for (unsigned int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &all) && !turn--) {
			CPU_ZERO(&all);
			CPU_SET(cpu, &all);
			return sched_setaffinity(0, sizeof(all), &all) ? -errno : 0;
		}
	}
	return -EINVAL;
}

/* ---- BPF maps ---- */

static int bpf(int command, union bpf_attr *attr)
{
	int rc = (int)syscall(SYS_bpf, command, attr, sizeof(*attr));

	return rc < 0 ? -errno : rc;
}

static int map_create(uint32_t type, size_t bytes, uint32_t flags)
{
	union bpf_attr attr = {.map_type = type, .map_flags = flags};

	attr.max_entries = (uint32_t)bytes;
	if (type == BPF_MAP_TYPE_ARRAY) {
		attr.key_size = sizeof(uint32_t);
		attr.value_size = BLOCK_BYTES;
		attr.max_entries = (uint32_t)(bytes / BLOCK_BYTES);
	}
	return bpf(BPF_MAP_CREATE, &attr);
}

static int nothing(struct slot *s)
{
	(void)s;
	return 0;
}

static int array_once(struct slot *s)
{
	int fd = map_create(BPF_MAP_TYPE_ARRAY, s->bytes, 0);

	return fd < 0 ? fd : close(fd);
}

static int ringbuf_once(struct slot *s)
{
	int fd = map_create(BPF_MAP_TYPE_RINGBUF, s->bytes, 0);

	return fd < 0 ? fd : close(fd);
}

/*
 * A map that user space maps as well. What another CPU stores through the
 * kernel's mapping must appear in ours, and the reverse: with a translation
 * left over from the map that had these addresses before, it would go to, or
 * come from, that map's old pages.
 */
static int array_check(struct tm_thread *t, struct slot *s, struct tm_verdict *v)
{
	uint32_t key = (uint32_t)(tm_random(t) % (s->bytes / BLOCK_BYTES));
	uint64_t block[BLOCK_BYTES / sizeof(uint64_t)] = {0}, written = tm_random(t);
	union bpf_attr attr;
	volatile uint64_t *word;
	char *map;
	int rc, fd = map_create(BPF_MAP_TYPE_ARRAY, s->bytes, BPF_F_MMAPABLE);

	if (fd < 0)
		return fd;
	map = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		rc = -errno;
		close(fd);
		return rc;
	}
	word = (uint64_t *)(map + (size_t)key * BLOCK_BYTES);
	attr = (union bpf_attr){.map_fd = (uint32_t)fd};
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)block;
	block[0] = written;
	rc = hop(tm_random(t));
	rc = rc ? rc : bpf(BPF_MAP_UPDATE_ELEM, &attr);
	rc = rc ? rc : witness_all_read(t, word, written, "after the kernel stored", v);
	*word = ~written;
	rc = rc ? rc : hop(tm_random(t));
	rc = rc ? rc : bpf(BPF_MAP_LOOKUP_ELEM, &attr);
	if (!rc)
		tm_check(v, block[0] == ~written,
			 "the kernel read %#" PRIx64 " instead of %#" PRIx64, block[0], ~written);
	munmap(map, s->bytes);
	close(fd);
	return rc;
}

/* A program that puts one record of 8 bytes, `value`, into the ring. */
static int ringbuf_program(int ring, int32_t value)
{
	const struct bpf_insn code[] = {
		/* code, destination, source, offset, immediate */
		{BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, -8, value},
		{BPF_LD_IMM_DW, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, ring},
		{0, 0, 0, 0, 0}, /* the upper half of that immediate */
		{BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0, 0},
		{BPF_ALU64 | BPF_ADD, BPF_REG_2, 0, 0, -8}, /* and BPF_K, which is 0 too */
		{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, 8},
		{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_4, 0, 0, 0},
		{BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_output},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER};

	attr.insns = (uintptr_t)code;
	attr.insn_cnt = sizeof(code) / sizeof(code[0]);
	attr.license = (uintptr_t) "GPL";
	return bpf(BPF_PROG_LOAD, &attr);
}

/* As array_check(): another CPU's kernel side writes, everybody's user side reads. */
static int ringbuf_check(struct tm_thread *t, struct slot *s, struct tm_verdict *v)
{
	uint32_t value = (uint32_t)tm_random(t) >> 1;
	int ring = map_create(BPF_MAP_TYPE_RINGBUF, s->bytes, 0), program = -1, rc = ring;
	char packet[64] = {0}, *map;
	const uint64_t *position, *record; /* a header of 8 bytes comes first */
	union bpf_attr attr;

	if (rc < 0)
		return rc;
	/* The producer's position and, a page on, the first record. */
	map = mmap(NULL, 2 * s->page_bytes, PROT_READ, MAP_SHARED, ring, (off_t)s->page_bytes);
	if (map == MAP_FAILED) {
		rc = -errno;
		close(ring);
		return rc;
	}
	position = (uint64_t *)map;
	record = (uint64_t *)(map + s->page_bytes);
	rc = program = ringbuf_program(ring, (int32_t)value);
	if (rc >= 0) {
		attr = (union bpf_attr){0};
		attr.test.prog_fd = (uint32_t)program;
		attr.test.data_in = (uintptr_t)packet;
		attr.test.data_size_in = sizeof(packet);
		rc = hop(tm_random(t));
		rc = rc ? rc : bpf(BPF_PROG_TEST_RUN, &attr);
	}
	rc = rc < 0 ? rc
		    : witness_all_read(t, position, 2 * sizeof(*position), "as the ring's position",
				       v);
	rc = rc ? rc : witness_all_read(t, record + 1, value, "from the ring", v);
	munmap(map, 2 * s->page_bytes);
	if (program >= 0)
		close(program);
	close(ring);
	return rc;
}

/* ---- secret memory ---- */

static void secret_unmap(struct slot *s)
{
	if (s->secret)
		munmap(s->secret, SECRET_PAGES * s->page_bytes);
	s->secret = NULL;
}

static int secret_ready(struct slot *s)
{
	size_t bytes = SECRET_PAGES * s->page_bytes;
	int fd, rc = 0;
	void *map;

	if (s->secret && s->secret_next < SECRET_PAGES)
		return 0;
	secret_unmap(s);
	fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	map = ftruncate(fd, (off_t)bytes)
		      ? MAP_FAILED
		      : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		rc = -errno;
	else
		s->secret = map;
	s->secret_next = 0;
	close(fd);
	return rc;
}

static int secret_once(struct slot *s)
{
	*(volatile char *)(s->secret + s->secret_next++ * s->page_bytes) = 1;
	return 0;
}

/*
 * The direct map cannot be read from user space, so a flush that is missing
 * there does not show; what is checked is that the page is the same for all.
 */
static int secret_check(struct tm_thread *t, struct slot *s, struct tm_verdict *v)
{
	uint64_t value = tm_random(t);
	volatile uint64_t *word;
	int rc = secret_ready(s);

	if (rc || !s->secret)
		return rc;
	word = (uint64_t *)(s->secret + s->secret_next++ * s->page_bytes);
	*word = value;
	return witness_all_read(t, word, value, "of secret memory", v);
}

/* ---- socket filters ---- */

static int filter_open(struct slot *s)
{
	return socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s->fd) ? -errno
											: 0;
}

/* Lets `keep` bytes of each datagram pass. */
static int filter_attach(struct slot *s, uint32_t keep)
{
	struct sock_filter code = {.code = BPF_RET | BPF_K, .k = keep};
	struct sock_fprog program = {.len = 1, .filter = &code};

	return setsockopt(s->fd[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program))
		       ? -errno
		       : 0;
}

static int filter_detach(struct slot *s)
{
	int unused = 0;

	return setsockopt(s->fd[1], SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused)) ? -errno
											   : 0;
}

static int filter_once(struct slot *s)
{
	int rc = filter_attach(s, UINT32_MAX);

	return rc ? rc : filter_detach(s);
}

/* A CPU that still fetches the filter before this one would cut elsewhere. */
static int filter_check(struct tm_thread *t, struct slot *s, struct tm_verdict *v)
{
	char datagram[64] = {0};
	uint32_t keep = 1 + (uint32_t)(tm_random(t) % sizeof(datagram));
	ssize_t n;
	int rc = filter_attach(s, keep);

	rc = rc ? rc : hop(tm_random(t));
	if (rc)
		return rc;
	if (send(s->fd[0], datagram, sizeof(datagram), 0) < 0)
		return -errno;
	n = recv(s->fd[1], datagram, sizeof(datagram), 0);
	/* Nothing is there: what arrives has arrived, so the filter dropped it. */
	if (n < 0 && errno != EAGAIN)
		return -errno;
	tm_check(v, n == (ssize_t)keep, "a filter that keeps %u bytes kept %zd", keep, n);
	return filter_detach(s);
}

/* ---- terminals ---- */

static int pty_once(struct slot *s)
{
	int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

	(void)s;
	if (fd < 0)
		return -errno;
	return close(fd) ? -errno : 0;
}

/* What one CPU writes passes the line discipline's vmalloc()ed buffer to a reader on another. */
static int pty_check(struct tm_thread *t, struct slot *s, struct tm_verdict *v)
{
	uint64_t sent = tm_random(t), got = 0;
	int locked = 0, rc = 0, slave = -1,
	    master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios raw;
	struct pollfd p;
	ssize_t n = 0;

	(void)s;
	if (master < 0)
		return -errno;
	if (!ioctl(master, TIOCSPTLCK, &locked))
		slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &raw)) {
		rc = -errno;
		goto out;
	}
	cfmakeraw(&raw);
	raw.c_cc[VMIN] = sizeof(got);
	p = (struct pollfd){.fd = slave, .events = POLLIN};
	if (tcsetattr(slave, TCSANOW, &raw) || write(master, &sent, sizeof(sent)) < 0)
		rc = -errno;
	rc = rc ? rc : hop(tm_random(t));
	if (!rc && (poll(&p, 1, 10000) < 0 || (n = read(slave, &got, sizeof(got))) < 0))
		rc = -errno;
	if (!rc && n != sizeof(got))
		rc = -EIO;
	if (!rc)
		tm_check(v, got == sent, "the terminal passed %#" PRIx64 " on as %#" PRIx64, sent,
			 got);
out:
	if (slave >= 0)
		close(slave);
	close(master);
	return rc;
}

/* ---- threads ---- */

static int threads_open(struct slot *s)
{
	s->stacks = mmap(NULL, THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (s->stacks == MAP_FAILED) {
		s->stacks = NULL;
		return -errno;
	}
	return 0;
}

static int thread_main(void *arg)
{
	*(volatile uint32_t *)arg = (uint32_t)syscall(SYS_gettid);
	return 0;
}

/*
 * All live at once, as none runs before this thread sleeps or is preempted.
 * The C library's threads would unmap their stacks: user-space shootdowns.
 */
static int threads_once(struct slot *s)
{
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			  CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
	int made, rc = 0;

	for (made = 0; made < THREADS && !rc; made++) {
		int tid;

		atomic_store(&s->tid[made], 1);
		tid = clone(thread_main, s->stacks + (made + 1) * STACK_BYTES, flags,
			    &s->said[made], &s->tid[made], NULL, &s->tid[made]);
		if (tid < 0) {
			rc = -errno;
			break;
		}
		s->born[made] = (uint32_t)tid;
	}
	for (int i = 0; i < made; i++) {
		uint32_t alive;

		while ((alive = atomic_load(&s->tid[i])))
			syscall(SYS_futex, &s->tid[i], FUTEX_WAIT, alive, NULL, NULL, 0);
	}
	return rc;
}

/*
 * Each thread's system call ran on its new kernel stack and returned what is
 * right. A CPU that mapped another's old stack there would hardly get so far:
 * the kernel would crash.
 */
static int threads_check(struct tm_thread *t, struct slot *s, struct tm_verdict *v)
{
	int rc = hop(tm_random(t));

	memset(s->said, 0, sizeof(s->said));
	rc = rc ? rc : threads_once(s);
	for (int i = 0; i < THREADS && !rc; i++)
		tm_check(v, s->said[i] == s->born[i], "thread %u says that it is %u", s->born[i],
			 s->said[i]);
	return rc;
}

/* ---- the workload ---- */

static const struct source sources[] = {
	{nothing, NULL, array_once, array_check,
	 "needs CONFIG_BPF_SYSCALL and CAP_BPF: run as root"},
	{nothing, NULL, ringbuf_once, ringbuf_check,
	 "needs CONFIG_BPF_SYSCALL and CAP_BPF (run as root), Linux 5.8, a power of two of bytes"},
	{nothing, secret_ready, secret_once, secret_check,
	 "needs CONFIG_SECRETMEM, on the command line secretmem.enable=1, 256 KiB of memlock"},
	{filter_open, NULL, filter_once, filter_check, "needs CONFIG_NET"},
	{nothing, NULL, pty_once, pty_check, "needs a devpts on /dev/pts"},
	{threads_open, NULL, threads_once, threads_check, "needs 16 threads more"},
};

static void slot_close(struct slot *s)
{
	secret_unmap(s);
	if (s->stacks)
		munmap(s->stacks, THREADS * STACK_BYTES);
	for (int i = 0; i < 2; i++)
		if (s->fd[i] >= 0)
			close(s->fd[i]);
}

static int slot_open(struct slot *s, const struct tm_cell_args *c)
{
	*s = (struct slot){.bytes = c->values[PARAM_BYTES],
			   .page_bytes = (size_t)sysconf(_SC_PAGESIZE),
			   .fd = {-1, -1}};
	return sources[c->values[PARAM_OBJECT]].open(s);
}

/* Tries it: nothing else tells all that may forbid it. */
static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	const struct source *source = &sources[c->values[PARAM_OBJECT]];
	struct slot s;
	int rc = room_check("", OUTSTANDING * c->values[PARAM_BYTES], why, why_size);

	if (rc)
		return rc;
	rc = slot_open(&s, c);
	if (!rc && source->ready)
		rc = source->ready(&s);
	rc = rc ? rc : source->once(&s);
	slot_close(&s);
	if (!rc)
		return 0;
	snprintf(why, why_size, "%s: %s: %s", source_names[c->values[PARAM_OBJECT]], strerror(-rc),
		 source->hint);
	return -ENOTSUP;
}

static int setup(struct tm_thread *t, void **state)
{
	struct state *s = calloc(1, sizeof(*s) + t->cell->initiators * sizeof(s->slot[0]));

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	s->source = &sources[t->cell->values[PARAM_OBJECT]];
	for (; s->count < t->cell->initiators; s->count++) {
		int rc = slot_open(&s->slot[s->count], t->cell);

		if (rc)
			return tm_fail(t, rc, "opening what maps kernel memory");
	}
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct state *all = state;
	const struct source *source = all->source;
	struct slot *s = &all->slot[t->index];

	while (tm_more(t)) {
		int rc = source->ready ? source->ready(s) : 0;

		if (!rc) {
			tm_begin(t);
			rc = source->once(s);
			tm_end(t, 0);
		}
		if (rc)
			return tm_fail(t, rc, "%s", source_names[source - sources]);
	}
	return 0;
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *all = state;
	cpu_set_t home;
	int rc = 0;

	for (uint64_t i = 0; i < v->rounds && !rc; i++)
		rc = all->source->check(t, &all->slot[t->index], v);
	CPU_ZERO(&home);
	CPU_SET(t->cpu, &home);
	sched_setaffinity(0, sizeof(home), &home);
	return rc ? tm_fail(t, rc, "checking %s", source_names[all->source - sources]) : 0;
}

static void teardown(void *state)
{
	struct state *s = state;

	for (unsigned int i = 0; s && i < s->count; i++)
		slot_close(&s->slot[i]);
	free(s);
}

const struct tm_workload tm_workload_kernel_vmalloc = {
	.name = "kernel_vmalloc",
	.summary = "kernel mappings come and go: flushes on every CPU, at once or much later",
	.op = "one --object made and dropped, or one page touched",
	.flushes = "flush_tlb_kernel_range, from secretmem_fault or __purge_vmap_area_lazy",
	.gate = TM_GATE_SOME,
	.no_control = true, /* every CPU is interrupted, whatever runs there */
	.switches = true,   /* threads run and end; the worker that purges cuts in */
	.params = params,
	.probe_cell = probe_cell,
	.setup = setup,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
