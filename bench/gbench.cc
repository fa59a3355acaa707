// SPDX-License-Identifier: GPL-3.0-or-later
/* The C interface to Google Benchmark; the only C++ of the project. */
#include "gbench.h"

#include <cerrno>
#include <new>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

namespace
{

benchmark::State *unwrap(tm_gb_state *s)
{
	return reinterpret_cast<benchmark::State *>(s);
}

const benchmark::State *unwrap(const tm_gb_state *s)
{
	return reinterpret_cast<const benchmark::State *>(s);
}

/* Runs `work`; what it throws becomes an errno. */
template <typename Work> int guarded(Work work)
{
	try {
		work();
		return 0;
	} catch (const std::bad_alloc &) {
		return -ENOMEM;
	} catch (...) {
		return -EIO;
	}
}

/* The usual display, and a C reporter that hears the same. */
class Tee : public benchmark::BenchmarkReporter
{
      public:
	explicit Tee(const tm_gb_reporter *other)
		: display(benchmark::CreateDefaultDisplayReporter()), also(other)
	{
	}

	bool ReportContext(const Context &context) override
	{
		bool go = display->ReportContext(context);

		return go && (!also || !also->begin || also->begin(also->context));
	}

	void ReportRuns(const std::vector<Run> &runs) override
	{
		display->ReportRuns(runs);
		if (!also || !also->line)
			return;
		for (const Run &r : runs) {
			const std::string name = r.benchmark_name();
			tm_gb_line line = {};

			line.name = name.c_str();
			line.aggregate = r.aggregate_name.c_str();
			line.error = r.error_occurred ? r.error_message.c_str() : nullptr;
			line.iterations = r.iterations;
			line.repetition = r.repetition_index;
			/* Registered in ns, so that this is the unit. */
			line.real_ns = r.GetAdjustedRealTime();
			also->line(also->context, &line);
		}
	}

	void Finalize() override
	{
		display->Finalize();
		if (also && also->end)
			also->end(also->context);
	}

      private:
	benchmark::BenchmarkReporter *display; /* the library's own, made once */
	const tm_gb_reporter *also;
};

} // namespace

int tm_gb_begin(int *argc, char **argv, void (*help)(void))
{
	return guarded([&] {
		benchmark::Initialize(argc, argv, help ? help : benchmark::PrintDefaultHelp);
	});
}

bool tm_gb_unknown_options(int argc, char **argv)
{
	return benchmark::ReportUnrecognizedArguments(argc, argv);
}

int tm_gb_context(const char *name, const char *value)
{
	return guarded([&] { benchmark::AddCustomContext(name, value); });
}

struct tm_gb_benchmark *tm_gb_register(const char *name, tm_gb_function function, void *context)
{
	benchmark::internal::Benchmark *b = nullptr;

	guarded([&] {
		b = benchmark::RegisterBenchmark(name, [function, context](benchmark::State &s) {
			function(reinterpret_cast<tm_gb_state *>(&s), context);
		});
		b->UseManualTime()->Unit(benchmark::kNanosecond);
	});
	return reinterpret_cast<tm_gb_benchmark *>(b);
}

int tm_gb_arguments(struct tm_gb_benchmark *b, const char *const *names, const int64_t *values,
		    size_t count)
{
	return guarded([&] {
		auto *registered = reinterpret_cast<benchmark::internal::Benchmark *>(b);

		registered->ArgNames(std::vector<std::string>(names, names + count));
		registered->Args(std::vector<int64_t>(values, values + count));
	});
}

int64_t tm_gb_argument(const struct tm_gb_state *s, size_t i)
{
	return unwrap(s)->range(i);
}

bool tm_gb_more(struct tm_gb_state *s)
{
	return unwrap(s)->KeepRunning();
}

void tm_gb_time(struct tm_gb_state *s, double seconds)
{
	unwrap(s)->SetIterationTime(seconds);
}

int tm_gb_counter(struct tm_gb_state *s, const char *name, double value)
{
	return guarded([&] { unwrap(s)->counters[name] = benchmark::Counter(value); });
}

void tm_gb_skip(struct tm_gb_state *s, const char *why)
{
	/* It allocates; when that fails, a row without a time is all there is. */
	guarded([&] { unwrap(s)->SkipWithError(why); });
}

int tm_gb_run(const struct tm_gb_reporter *also, size_t *matched)
{
	return guarded([&] {
		Tee tee(also);

		*matched = benchmark::RunSpecifiedBenchmarks(&tee);
	});
}

void tm_gb_end(void)
{
	guarded([] {
		benchmark::ClearRegisteredBenchmarks();
		benchmark::Shutdown();
	});
}
