// SPDX-License-Identifier: GPL-2.0
/*
 * The probe's BPF programs. They sit inside what is being measured, so each
 * leaves at once on a CPU that takes no part, and none calls a helper but the
 * clock.
 *
 * All but the last three are raw tracepoints without a name: user space
 * attaches them to what the running kernel has (probe_bpf.c), so one object
 * serves every kernel and reads no kernel structure.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
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

	if (s)
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

/* csd:csd_function_entry(smp_call_func_t func, call_single_data_t *csd) */
SEC("raw_tp")
int tm_on_csd_entry(struct bpf_raw_tracepoint_args *ctx)
{
	struct tm_bpf_slot *s = tm_slot();
	__u32 in;

	/* no csd: the sender's own call of the function, not an interrupt */
	if (!s || !ctx->args[1])
		return 0;
	tm_put(&s->ring[TM_RING_INTERRUPT], TM_BPF_ENTRY, 0);
	in = in_operation & 1;
	s->tally.handlers[in]++;
	tm_tally_function(&s->tally, ctx->args[0], in);
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

/* irq_vectors:call_function_entry and call_function_single_entry, before Linux 6.4 */
SEC("raw_tp")
int tm_on_handler_entry(void *ctx)
{
	struct tm_bpf_slot *s = tm_slot();

	if (!s)
		return 0;
	tm_put(&s->ring[TM_RING_INTERRUPT], TM_BPF_ENTRY, 0);
	s->in_handler = 1;
	s->tally.handlers[in_operation & 1]++;
	return 0;
}

SEC("raw_tp")
int tm_on_handler_exit(void *ctx)
{
	struct tm_bpf_slot *s = tm_slot();

	if (!s)
		return 0;
	s->in_handler = 0;
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
int tm_on_ipi(void *ctx)
{
	return tm_disturb(TM_DISTURB_IPI);
}

SEC("raw_tp")
int tm_on_switch(void *ctx)
{
	return tm_disturb(TM_DISTURB_SWITCH);
}

/*
 * Which callback ran, on kernels whose function-call interrupts do not tell.
 * Outside a handler it is the sender's own call.
 */
TM_INLINE int tm_callback(void *ctx)
{
	struct tm_bpf_slot *s = tm_slot();

	if (s && s->in_handler)
		tm_tally_function(&s->tally, bpf_get_func_ip(ctx), in_operation & 1);
	return 0;
}

SEC("?fentry/flush_tlb_func")
int tm_on_flush_tlb_func(void *ctx)
{
	return tm_callback(ctx);
}

SEC("?fentry/do_kernel_range_flush")
int tm_on_range_flush(void *ctx)
{
	return tm_callback(ctx);
}

SEC("?fentry/do_flush_tlb_all")
int tm_on_flush_all(void *ctx)
{
	return tm_callback(ctx);
}
