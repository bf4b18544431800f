// Parts of one allocation.
#pragma once
#include <stdint.h>

namespace {

// Hands out parts of one allocation; without one, it counts what would be needed.
class Arena {
  public:
    explicit Arena(void *memory) : memory_(static_cast<char *>(memory)) {}

    template <typename Number> Number *take(int64_t count) {
        char *part = memory_ ? memory_ + used_ : nullptr;
        used_ += (count * (int64_t)sizeof(Number) + 63) / 64 * 64;
        return reinterpret_cast<Number *>(part);
    }

    int64_t used() const { return used_; }

  private:
    char *memory_;
    int64_t used_ = 0;
};

}  // namespace
