// Threads of our own: a team runs one function side by side and meets at barriers.
#pragma once
#include <stdint.h>

// Nanoseconds of a clock that only goes forward.
int64_t now();

// What is one thread's part of some things.
struct Share {
    int begin, end;
};

// One thread's view of those that run a function with it.
class Team {
  public:
    Team(int number, int count) : number(number), count(count) {}

    // Where all wait until all have come.
    void barrier();

    Share share(int things) const {
        return {(int)((int64_t)things * number / count), (int)((int64_t)things * (number + 1) / count)};
    }

    const int number, count;
};

// Runs work(team, context) on `count` threads, the caller's among them, and returns when all are done.
void run_in_team(int count, void (*work)(Team &, void *), void *context);

template <typename Work> void in_team(int count, Work &&work) {
    run_in_team(count, [](Team &team, void *context) { (*static_cast<Work *>(context))(team); }, &work);
}
