// SPDX-License-Identifier: GPL-2.0
/*
 * The probe's BPF programs. They sit inside what is being measured, so each
 * leaves at once on a CPU that takes no part, and none but the last calls a
 * helper besides the clock.
 *
 * All are raw tracepoints without a name: user space attaches them to what the
 * running kernel has (probe_bpf.c), so one object serves every kernel. The last
 * one, which reads kernel structures, needs its BTF.
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "tlb_bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* Alone in .bss, hence alone on its cache line: the initiators write it. */
volatile __u32 in_operation;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* possible CPUs */
	__type(key, __u32);
	__type(value, struct tm_bpf_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* shared out between the CPUs that take part */
	__type(key, __u32);
	__type(value, struct tm_bpf_event);
} events SEC(".maps");

TM_INLINE struct tm_bpf_slot *tm_slot(void)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct tm_bpf_slot *s = bpf_map_lookup_elem(&slots, &cpu);

	return s && s->active ? s : (void *)0;
}

TM_INLINE void tm_put(struct tm_bpf_ring *r, __u32 kind, __u32 value)
{
	__u64 head = r->head;
	__u32 index = r->base + (head & (r->size - 1));
	struct tm_bpf_event *e;

	if (head - r->tail >= r->size) {
		r->lost++;
		return;
	}
	e = bpf_map_lookup_elem(&events, &index);
	if (!e)
		return;
	e->time_ns = bpf_ktime_get_ns();
	e->kind = kind;
	e->value = value;
	/* user space must not see the index before the event */
	asm volatile("" ::: "memory");
	r->head = head + 1;
}

TM_INLINE int tm_disturb(__u32 value)
{
	struct tm_bpf_slot *s = tm_slot();

	if (!s)
		return 0;
	s->tally.cause[value & (TM_TALLY_CAUSES - 1)][in_operation & 1]++;
	tm_put(&s->ring[TM_RING_INTERRUPT], TM_BPF_DISTURB, value);
	return 0;
}

/* tlb:tlb_flush(int reason, unsigned long pages) */
SEC("raw_tp")
int tm_on_flush(struct bpf_raw_tracepoint_args *ctx)
{
	struct tm_bpf_slot *s = tm_slot();
	__u32 reason = (__u32)ctx->args[0];

	if (!s)
		return 0;
	if (reason == TM_REASON_SEND)
		tm_put(&s->ring[TM_RING_SEND], TM_BPF_SEND, tm_event_pages(ctx->args[1]));
	tm_tally_flush(&s->tally, reason, ctx->args[1], in_operation & 1);
	return 0;
}

/*
 * Function-call interrupts: irq_vectors:call_function_entry, _single_entry and
 * their exits.
 */
TM_INLINE void tm_enter(struct tm_bpf_slot *s)
{
	tm_put(&s->ring[TM_RING_INTERRUPT], TM_BPF_ENTRY, 0);
	s->in_handler = 1;
	s->called = 0;
	s->tally.handlers[in_operation & 1]++;
}

SEC("raw_tp")
int tm_on_handler_entry(void *ctx)
{
	struct tm_bpf_slot *s = tm_slot();

	if (s)
		tm_enter(s);
	return 0;
}

SEC("raw_tp")
int tm_on_handler_exit(void *ctx)
{
	struct tm_bpf_slot *s = tm_slot();

	if (!s || !s->in_handler)
		return 0;
	s->in_handler = 0;
	if (!s->called)
		tm_tally_function(&s->tally, TM_FUNCTION_NONE, in_operation & 1);
	tm_put(&s->ring[TM_RING_INTERRUPT], TM_BPF_EXIT, 0);
	return 0;
}

/*
 * Outside of a handler it is the sender's own call, or that of an idle CPU
 * which looked by itself: nobody was interrupted.
 */
TM_INLINE void tm_callback(struct tm_bpf_slot *s, __u64 address)
{
	s->called++;
	tm_tally_function(&s->tally, address, in_operation & 1);
}

/* csd:csd_function_entry(smp_call_func_t func, call_single_data_t *csd), Linux 6.4 */
SEC("raw_tp")
int tm_on_csd(struct bpf_raw_tracepoint_args *ctx)
{
	struct tm_bpf_slot *s = tm_slot();

	if (s && s->in_handler && ctx->args[1])
		tm_callback(s, ctx->args[0]);
	return 0;
}

/* The same where no tracepoint tells of the interrupt itself (aarch64). */
SEC("raw_tp")
int tm_on_csd_entry(struct bpf_raw_tracepoint_args *ctx)
{
	struct tm_bpf_slot *s = tm_slot();

	/* no csd: the sender's own call */
	if (!s || !ctx->args[1])
		return 0;
	tm_put(&s->ring[TM_RING_INTERRUPT], TM_BPF_ENTRY, 0);
	s->tally.handlers[in_operation & 1]++;
	tm_callback(s, ctx->args[0]);
	return 0;
}

SEC("raw_tp")
int tm_on_csd_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct tm_bpf_slot *s = tm_slot();

	if (s && ctx->args[1])
		tm_put(&s->ring[TM_RING_INTERRUPT], TM_BPF_EXIT, 0);
	return 0;
}

SEC("raw_tp")
int tm_on_timer(void *ctx)
{
	return tm_disturb(TM_DISTURB_TIMER);
}

SEC("raw_tp")
int tm_on_device(void *ctx)
{
	return tm_disturb(TM_DISTURB_DEVICE);
}

SEC("raw_tp")
int tm_on_reschedule(void *ctx)
{
	return tm_disturb(TM_DISTURB_RESCHEDULE);
}

SEC("raw_tp")
int tm_on_switch(void *ctx)
{
	return tm_disturb(TM_DISTURB_SWITCH);
}

SEC("raw_tp")
int tm_on_irq_work(void *ctx)
{
	return tm_disturb(TM_DISTURB_IRQ_WORK);
}

SEC("raw_tp")
int tm_on_other(void *ctx)
{
	return tm_disturb(TM_DISTURB_OTHER);
}

/* What is read of kernel structures (include/linux/llist.h, smp_types.h, smp.h). */
struct llist_node {
	struct llist_node *next;
} __attribute__((preserve_access_index));

struct llist_head {
	struct llist_node *first;
} __attribute__((preserve_access_index));

struct __call_single_node {
	struct llist_node llist;
	unsigned int u_flags;
} __attribute__((preserve_access_index));

struct __call_single_data {
	struct __call_single_node node;
	void *func;
} __attribute__((preserve_access_index));

enum {
	CSD_FLAG_TYPE_MASK = 0xf0,
	CSD_TYPE_TTWU = 0x30, /* tasks to wake up, which have no function */
	QUEUE_MAX = 64,
};

extern struct llist_head call_single_queue __ksym; /* kernel/smp.c, one a CPU */

/*
 * Before Linux 6.4 no tracepoint tells the callbacks, but the handler is about
 * to take this queue and run all of it. What is added between the last look
 * and that, beside another entry (alone it brings an interrupt of its own), is
 * missed: some nanoseconds of those in which two CPUs call the same third.
 */
TM_INLINE void tm_look_at_queue(struct tm_bpf_slot *s)
{
	struct llist_head *queue = bpf_this_cpu_ptr(&call_single_queue);
	struct llist_node *newest = queue->first, *seen = (void *)0, *node = newest;
	__u32 i, wakes = 0;

	for (i = 0; i < QUEUE_MAX && node; i++) {
		/* a csd and an irq_work both begin with the node, and then the function */
		struct __call_single_data *csd = (void *)node;
		__u32 flags = BPF_CORE_READ(csd, node.u_flags);

		if ((flags & CSD_FLAG_TYPE_MASK) == CSD_TYPE_TTWU)
			wakes = 1;
		else
			tm_callback(s, (__u64)BPF_CORE_READ(csd, func));
		node = node->next;
		if (node != seen)
			continue;
		seen = newest;
		node = newest = queue->first;
		if (node == seen)
			break;
	}
	if (i == QUEUE_MAX)
		s->tally.function_other[in_operation & 1]++;
	/* one call for all of them, as later kernels tell it */
	if (wakes)
		tm_callback(s, TM_FUNCTION_WAKEUP);
}

SEC("?raw_tp")
int tm_on_queue(void *ctx)
{
	struct tm_bpf_slot *s = tm_slot();

	if (!s)
		return 0;
	tm_enter(s);
	tm_look_at_queue(s);
	return 0;
}
