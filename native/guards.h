// What must not follow in the texts of a sampler's rows, as it depends on all of each text.
#pragma once
#include <new>
#include <utility>

#include "copies.h"
#include "repeats.h"

namespace {

// The ids before a prompt's texts.
struct Context {
    const int32_t *first = nullptr, *last = nullptr;
    Context(const charrnn_contexts &contexts, int prompt) {
        if (!contexts.ids) return;
        first = contexts.ids + (prompt ? contexts.ends[prompt - 1] : 0);
        last = contexts.ids + contexts.ends[prompt];
    }
    const int32_t *begin() const { return first; }
    const int32_t *end() const { return last; }
};

class Guards {
  public:
    Guards(Arena &arena, const charrnn_sampler_request &request, int rows, int vocabulary, int threads)
        : rows_(rows), no_repeat_(request.no_repeat), repeat_context_(request.repeat_context),
          copy_context_(request.copy_context), copies_(arena, request.copies, vocabulary, threads) {
        repeats_ = arena.take<Repeats>(no_repeat_ ? rows : 0);
        windows_ = arena.take<CopyIndex::Window>(copies_ ? rows : 0);
        for (int row = 0; row < rows; row++) {
            if (no_repeat_ && repeats_) new (repeats_ + row) Repeats(no_repeat_);
            if (!copies_) continue;
            uint32_t *last = arena.take<uint32_t>(copies_.length());
            if (windows_) windows_[row].last = last;
        }
    }

    void free_memory() {
        for (int row = 0; no_repeat_ && row < rows_; row++) repeats_[row].free_memory();
    }

    explicit operator bool() const { return no_repeat_ || copies_; }

    // Begin a text of a prompt. Return false where there is no memory; so does `append`.
    bool start(int row, int prompt) {
        if (no_repeat_) {
            repeats_[row].clear();
            for (int32_t id : Context(repeat_context_, prompt))
                if (!repeats_[row].append(id)) return false;
        }
        if (copies_) {
            windows_[row] = {0, 0, windows_[row].last, {}};
            for (int32_t id : Context(copy_context_, prompt)) copies_.append(windows_[row], id);
        }
        return true;
    }

    // Let a row's text go on.
    bool append(int row, int32_t id) {
        if (copies_) copies_.append(windows_[row], id);
        return !no_repeat_ || repeats_[row].append(id);
    }

    // Forbid what must not be next. to: (V), the state that each id leads to.
    void forbid(int thread, int row, int32_t *to) const {
        if (no_repeat_) repeats_[row].forbid(to);
        if (copies_) copies_.forbid(thread, windows_[row], to);
    }

    // Change the places of two rows.
    void swap(int row, int other) {
        if (no_repeat_) std::swap(repeats_[row], repeats_[other]);
        if (copies_) std::swap(windows_[row], windows_[other]);
    }

  private:
    int rows_;
    int64_t no_repeat_;  // 0: ids may come again
    charrnn_contexts repeat_context_, copy_context_;
    CopyIndex copies_;
    Repeats *repeats_;            // of the rows
    CopyIndex::Window *windows_;  // of the rows
};

}  // namespace
