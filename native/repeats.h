// Which ids would write a sequence of N ids a second time in their text.
#pragma once
#include <stdlib.h>
#include <string.h>

#include "charrnn.h"
#include "rolling_hash.h"

namespace {

// The ids of a text. What came after N - 1 ids is found in a chain of the places before which ids with their hash stand.
class Repeats {
  public:
    explicit Repeats(int64_t length) : context_(length - 1), rolling_(0x9E3779B97F4A7C15u, context_) {}

    void free_memory() {
        for (int32_t *array : {ids_, previous_, heads_}) free(array);
        ids_ = previous_ = heads_ = nullptr;
        capacity_ = 0;
    }

    // Begin a text.
    void clear() {
        if (capacity_ > (1 << 14)) free_memory();
        for (int64_t place = 0; place < capacity_; place++) heads_[place] = -1;
        count_ = 0;
        hash_ = 0;
    }

    // Go on with an id; false where there is no memory.
    bool append(int32_t id) {
        if (count_ == capacity_ && !grow()) return false;
        ids_[count_] = id;
        chain();
        return true;
    }

    // Forbid what has come after the last N - 1 ids before. to: (V), the state that each id leads to.
    void forbid(int32_t *to) const {
        if (!capacity_ || count_ < context_) return;
        const int32_t *last = ids_ + count_ - context_;
        for (int32_t place = heads_[bucket()]; place >= 0; place = previous_[place]) {
            int32_t &next = to[ids_[place]];
            if (next == CHARRNN_END || memcmp(ids_ + place - context_, last, context_ * sizeof(int32_t))) continue;
            next = CHARRNN_FORBIDDEN;
        }
    }

  private:
    int64_t bucket() const { return (int64_t)((hash_ ^ hash_ >> 32) & (uint64_t)(capacity_ - 1)); }

    // Take in the id behind the `count_` ids known.
    void chain() {
        uint64_t oldest = 0;  // of the last N - 1
        if (count_ >= context_) {
            int32_t &head = heads_[bucket()];
            previous_[count_] = head;
            head = (int32_t)count_;
            if (context_) oldest = (uint64_t)ids_[count_ - context_] + 1;
        }
        if (context_) hash_ = rolling_.append(hash_, oldest, (uint64_t)ids_[count_] + 1);
        count_++;
    }

    bool grow() {
        const int64_t capacity = capacity_ ? 2 * capacity_ : 256, count = count_;
        if (capacity > INT32_MAX) return false;
        for (int32_t **array : {&ids_, &previous_, &heads_}) {
            void *memory = realloc(*array, capacity * sizeof(int32_t));
            if (!memory) return false;
            *array = static_cast<int32_t *>(memory);
        }
        capacity_ = capacity;
        for (int64_t place = 0; place < capacity; place++) heads_[place] = -1;
        for (count_ = 0, hash_ = 0; count_ < count;) chain();
        return true;
    }

    int64_t context_;  // N - 1
    RollingHash rolling_;
    uint64_t hash_ = 0;  // of the last N - 1 ids
    int64_t count_ = 0, capacity_ = 0;
    int32_t *ids_ = nullptr, *previous_ = nullptr, *heads_ = nullptr;  // the next place in the chain; its first, of each bucket
};

}  // namespace
