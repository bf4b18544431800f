// A thread pool: a team of threads runs one function together and synchronizes at barriers.
#pragma once
#include <stdint.h>

// Nanoseconds of a clock that never goes back.
int64_t monotonic_ns();

// The items begin <= i < end.
struct Range {
    int begin, end;
};

// One thread's view of the threads that run a function together; `rank` is its own number, `size` how many there are.
class ThreadTeam {
  public:
    ThreadTeam(int rank, int size) : rank(rank), size(size) {}

    // Wait until all threads of the team have come here.
    void barrier();

    // This thread's part of `items` items.
    Range range(int items) const {
        return {(int)((int64_t)items * rank / size), (int)((int64_t)items * (rank + 1) / size)};
    }

    const int rank, size;
};

// Run work(team, context) on `count` threads, the caller's among them, and return when all are done.
void run_on_pool(int count, void (*work)(ThreadTeam &, void *), void *context);

template <typename Work> void run_parallel(int count, Work &&work) {
    run_on_pool(count, [](ThreadTeam &team, void *context) { (*static_cast<Work *>(context))(team); }, &work);
}
