// One allocation cut into parts.
#pragma once
#include <stdint.h>

namespace {

// Hands out 64-byte aligned parts of a block of memory, one after another; without memory it counts how many bytes they need.
class Arena {
  public:
    explicit Arena(void *memory) : memory_(static_cast<char *>(memory)) {}

    template <typename Item> Item *take(int64_t count) {
        char *part = memory_ ? memory_ + used_ : nullptr;
        used_ += (count * (int64_t)sizeof(Item) + 63) / 64 * 64;
        return reinterpret_cast<Item *>(part);
    }

    int64_t used() const { return used_; }

  private:
    char *memory_;
    int64_t used_ = 0;
};

}  // namespace
