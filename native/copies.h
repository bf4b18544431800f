// Which ids would copy too long a stretch of the training text. The ids are those of charrnn/generation/copies.py.
#pragma once
#include "arena.h"
#include "charrnn.h"
#include "rolling_hash.h"

namespace {

// The beginning of a character in UTF-8.
struct PartialChar {
    uint8_t bytes[4], count;
};

// Read a byte, and call `emit` with the characters that end with it: code points, and what Python's "surrogateescape" makes
// of each byte that is none.
template <typename Emit> void read_byte(PartialChar &partial, uint8_t byte, Emit emit) {
    if (partial.count) {
        const uint8_t first = partial.bytes[0];
        int low = 0x80, high = 0xBF;
        if (partial.count == 1) {  // neither too long, nor a surrogate, nor too large
            low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : low;
            high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : high;
        }
        if (low <= byte && byte <= high) {
            partial.bytes[partial.count++] = byte;
            const int size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
            if (partial.count < size) return;
            uint32_t point = first & (0x7F >> size);
            for (int place = 1; place < size; place++) point = point << 6 | (partial.bytes[place] & 0x3F);
            partial.count = 0;
            emit(point);
            return;
        }
        const int count = partial.count;
        partial.count = 0;
        for (int place = 0; place < count; place++) emit(0xDC00u + partial.bytes[place]);
    }
    if (0xC2 <= byte && byte <= 0xF4)
        partial.bytes[partial.count++] = byte;
    else
        emit(byte < 0x80 ? byte : 0xDC00u + byte);
}

// Where a token may lead, byte by byte: the last N characters then.
struct CopyNode {
    uint64_t hash;
    int64_t first, last;  // keys of that hash
    int chars;            // of the token
    bool is_found, copies;  // whether `first` and `last` are known; whether some character was one too many
    PartialChar partial;
};

class CopyIndex {
  public:
    // The workspaces are for `threads` threads.
    CopyIndex(Arena &arena, const charrnn_copy_index *given, int vocabulary, int threads)
        : rolling_(given ? given->base : 0, given ? given->length : 0), vocabulary_(vocabulary) {
        if (!given) return;
        given_ = *given;
        nodes_ = arena.take<CopyNode>(threads * node_count());
        chars_ = arena.take<uint32_t>(threads * char_count());
    }

    explicit operator bool() const { return given_.length; }
    int64_t length() const { return given_.length; }

    // The characters of a text, as far as what follows depends on them.
    struct Window {
        uint64_t hash;   // of the last N
        int64_t count;   // of all
        uint32_t *last;  // (N), character n at n % N
        PartialChar partial;
    };

    void append(Window &window, int32_t id) const {
        const uint8_t *bytes = given_.bytes + given_.offsets[id];
        for (int place = 0; place < given_.sizes[id]; place++)
            read_byte(window.partial, bytes[place], [&](uint32_t point) {
                uint32_t &oldest = window.last[window.count % length()];
                window.hash = rolling_.append(window.hash, window.count < length() ? 0 : oldest, point);
                oldest = point;
                window.count++;
            });
    }

    // Forbid what would make N characters of the training text N + 1. to: (V), the state that each id leads to.
    void forbid(int thread, const Window &window, int32_t *to) const {
        CopyNode *nodes = nodes_ + thread * node_count();
        nodes[0] = {window.hash, 0, 0, 0, false, false, window.partial};
        if (given_.is_by_char && !window.partial.count) {  // mostly nothing would
            if (window.count < length()) return;
            find(nodes[0]);
            if (nodes[0].first == nodes[0].last) return;
        }
        for (int n = 0; n < vocabulary_; n++) {
            const int32_t id = given_.order[n], size = given_.sizes[id];
            const uint8_t *bytes = given_.bytes + given_.offsets[id];
            for (int depth = given_.shared[n]; depth < size; depth++) {  // the token before has come this far
                if (!nodes[depth].is_found && window.count + nodes[depth].chars >= length()) find(nodes[depth]);
                CopyNode &node = nodes[depth + 1] = nodes[depth];
                read_byte(node.partial, bytes[depth], [&](uint32_t point) { step(thread, window, node, point); });
            }
            if (nodes[size].copies && to[id] != CHARRNN_END) to[id] = CHARRNN_FORBIDDEN;
        }
    }

  private:
    static constexpr uint64_t POINT = (1 << 21) - 1;  // the bits of a key that are the character after the N

    int64_t node_count() const { return given_.longest + 1; }
    int64_t char_count() const { return given_.longest + 4; }

    void step(int thread, const Window &window, CopyNode &node, uint32_t point) const {
        uint32_t *chars = chars_ + thread * char_count();
        const int64_t place = window.count + node.chars, N = length();
        uint32_t oldest = 0;
        if (place >= N) {
            if (!node.is_found) find(node);
            for (int64_t key = node.first; key < node.last; key++) node.copies |= (given_.keys[key] & POINT) == point;
            oldest = place - N < window.count ? window.last[place % N] : chars[node.chars - N];
        }
        node.hash = rolling_.append(node.hash, oldest, point);
        node.is_found = false;
        chars[node.chars++] = point;
    }

    // Find the keys of a node's hash, from where they would stand were all keys as far apart.
    void find(CopyNode &node) const {
        const uint64_t *keys = given_.keys, hash = node.hash & ~POINT;
        int64_t low = (int64_t)((double)hash * 0x1p-64 * (double)given_.count) - 1, high = low, size = 1;
        while (low >= 0 && keys[low] >= hash) high = low, low -= size, size *= 2;
        if (low < 0) low = -1;
        if (high < 0) high = 0;
        for (size = 1; high < given_.count && keys[high] < hash; size *= 2) low = high, high += size;
        if (high > given_.count) high = given_.count;
        while (high - low > 1) {
            const int64_t middle = low + (high - low) / 2;
            (keys[middle] < hash ? low : high) = middle;
        }
        for (node.first = node.last = high; node.last < given_.count && (keys[node.last] & ~POINT) == hash;) node.last++;
        node.is_found = true;
    }

    charrnn_copy_index given_{};
    RollingHash rolling_;
    int vocabulary_;
    CopyNode *nodes_ = nullptr;  // (longest + 1) for each thread
    uint32_t *chars_ = nullptr;  // a token's, for each thread
};

}  // namespace
