// Runs everything in the core on small odd sizes, in memory of exactly the sizes asked for, and prints a hash of all
// results. Built with sanitizers it finds what reads or writes elsewhere; built for another processor it must print
// the same. Needs nothing but this folder: see tests/test_native_build.py.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "charrnn.h"

namespace {

uint64_t hash = 14695981039346656037ull;
uint32_t seed = 1;

uint32_t draw(uint32_t below) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

std::vector<float> numbers(size_t count) {
    std::vector<float> some(count);
    for (float &number : some) number = (float)((int)draw(2001) - 1000) * 5e-4f;
    return some;
}

template <typename Number> void mix(const std::vector<Number> &numbers) {
    const unsigned char *bytes = reinterpret_cast<const unsigned char *>(numbers.data());
    for (size_t at = 0; at < numbers.size() * sizeof(Number); at++) hash = (hash ^ bytes[at]) * 1099511628211ull;
}

struct Aligned {
    void *memory = nullptr;
    explicit Aligned(int64_t size) {
        if (posix_memalign(&memory, 64, size)) abort();
    }
    ~Aligned() { free(memory); }
    Aligned(const Aligned &) = delete;
};

struct Layer {
    std::vector<float> input, state, bias_ih, bias_hh;
    Layer(int gates, int inputs, int hidden)
        : input(numbers(gates * hidden * inputs)), state(numbers(gates * hidden * hidden)), bias_ih(numbers(gates * hidden)),
          bias_hh(numbers(gates * hidden)) {}
    charrnn_weights weights() const { return {input.data(), state.data(), bias_ih.data(), bias_hh.data()}; }
};

int gates_of(int cell) { return cell == CHARRNN_GRU ? 3 : cell == CHARRNN_LSTM ? 4 : 1; }
int states_of(int cell) { return cell == CHARRNN_LSTM ? 2 : 1; }

void train(int precision, int cell, int threads, int B, int T, int inputs, int H, bool chosen, bool reset) {
    const int G = gates_of(cell), S = states_of(cell), rows = chosen ? 5 : T * B;
    const Layer layer(G, inputs, H);
    const std::vector<float> x = numbers(rows * inputs), state = numbers(S * B * H), dh = numbers(T * B * H), dstate = numbers(S * B * H);
    std::vector<int32_t> index(T * B);
    std::vector<uint8_t> resets(T * B);
    for (int32_t &row : index) row = draw(rows);
    for (uint8_t &here : resets) here = draw(4) == 0;
    charrnn_layer call = {precision, cell, threads, T, B, inputs, H, rows, x.data(), chosen ? index.data() : nullptr,
                          reset ? resets.data() : nullptr, layer.weights(), state.data(), nullptr, nullptr};
    const Aligned kept(charrnn_layer_kept(&call)), work(charrnn_layer_work(&call));
    call.kept = kept.memory;
    call.work = work.memory;
    std::vector<float> after(S * B * H), before(S * B * H), dx(rows * inputs), w(G * H * inputs), u(G * H * H), b(G * H), d(G * H);
    charrnn_layer_forward(&call, after.data());
    const int wide = (H + 15) / 16 * 16;
    for (int row = B; row < (T + 1) * B; row++) {
        const float *h = static_cast<const float *>(call.kept) + row * wide;
        mix(std::vector<float>(h, h + H));
    }
    charrnn_layer_backward(&call, dh.data(), H, dstate.data(), dx.data(), w.data(), u.data(), b.data(), d.data(), before.data());
    for (const auto &part : {after, before, dx, w, u, b, d}) mix(part);
}

void head(int precision, int threads, int rows, int F, int V) {
    const std::vector<float> x = numbers(rows * F), weight = numbers(V * F), bias = numbers(V);
    std::vector<int32_t> targets(rows);
    for (int32_t &target : targets) target = draw(V);
    charrnn_head call = {precision, threads, rows, F, V, x.data(), F, weight.data(), bias.data(), targets.data(), nullptr};
    const Aligned work(charrnn_head_work(&call));
    call.work = work.memory;
    std::vector<float> dx(rows * F), dweight(V * F), dbias(V);
    // the logarithm is the C library's: it may differ in the last bit elsewhere
    const double loss = charrnn_head_loss(&call, dx.data(), F, dweight.data(), dbias.data());
    mix(std::vector<float>{(float)loss});
    mix(std::vector<float>{(float)charrnn_head_loss(&call, nullptr, 0, nullptr, nullptr)});
    for (const auto &part : {dx, dweight, dbias}) mix(part);
}

void update(int threads, std::vector<int64_t> sizes) {
    std::vector<std::vector<float>> weights, gradients, means, squares;
    std::vector<float *> w, m, v;
    std::vector<const float *> g;
    for (int64_t size : sizes) {
        weights.push_back(numbers(size));
        gradients.push_back(numbers(size));
        means.push_back(numbers(size));
        squares.push_back(numbers(size));
        for (float &square : squares.back()) square *= square;
        w.push_back(weights.back().data());
        g.push_back(gradients.back().data());
        m.push_back(means.back().data());
        v.push_back(squares.back().data());
    }
    const std::vector<float> kept = numbers(sizes.size()), rates = numbers(sizes.size());
    charrnn_update call = {threads, (int32_t)sizes.size(), sizes.data(), w.data(), g.data(), m.data(), v.data(), kept.data(),
                           rates.data(), 0.5f, 0.9f, 0.99f, 2.0f, 1e-8f, nullptr};
    const Aligned work(charrnn_update_work(&call));
    call.work = work.memory;
    mix(std::vector<double>{charrnn_gradient_norm(&call)});
    charrnn_adamw(&call);
    for (const auto *part : {&weights, &means, &squares})
        for (const auto &tensor : *part) mix(tensor);
}

// Texts that begin with what is in these states.
void sample(charrnn_model *model, int V, const float *const *state, bool controlled) {
    const std::vector<float> logits = numbers(V);
    std::vector<int32_t> automaton(2 * V);
    for (int32_t &next : automaton) next = (int32_t)draw(controlled ? 4 : 2) - (controlled ? 2 : 0);
    automaton[0] = automaton[V] = 1;
    const charrnn_writing writing = {12,  9,  5, controlled ? 4 : 0, controlled ? 0.7 : 1.0, controlled ? 0.9 : 1.0, controlled ? 0.01 : 0.0,
                                     V + 1u, 5, logits.data(), state, 2, automaton.data()};
    charrnn_writer *writer = charrnn_writer_new(model, &writing);
    if (!writer) abort();
    std::vector<int64_t> texts(17);
    std::vector<int32_t> ids(17);
    std::vector<uint8_t> last(17);
    std::vector<std::vector<int32_t>> symbols(12);  // by text: the order in between depends on the clock
    for (int64_t count; (count = charrnn_write(writer, 0, 17, texts.data(), ids.data(), last.data())); ) {
        if (count < 0) abort();
        for (int64_t n = 0; n < count; n++) symbols[texts[n]].push_back(last[n] ? -1 - ids[n] : ids[n]);
        charrnn_writer_finish(writer, 7);
    }
    charrnn_writer_free(writer);
    symbols[7].clear();  // where it was finished depends on the clock
    for (const auto &text : symbols) mix(text);
}

void score(int precision, int cell, int threads, int B, int T, int V, int E, std::vector<int32_t> hidden) {
    const int G = gates_of(cell), S = states_of(cell), L = (int)hidden.size();
    std::vector<Layer> layers;
    int features = hidden[0];
    for (int layer = 0; layer < L; layer++) layers.emplace_back(G, layer ? hidden[layer - 1] : E, hidden[layer]);
    if (L > 1 && hidden[1] != hidden[0]) features += hidden[1];
    std::vector<charrnn_weights> weights;
    for (const Layer &layer : layers) weights.push_back(layer.weights());
    const std::vector<float> embeddings = numbers((V + 1) * E), head_weight = numbers(V * features), head_bias = numbers(V);
    charrnn_model *model = charrnn_model_new(precision, cell, threads, V, E, L, hidden.data(), embeddings.data(), weights.data(),
                                             head_weight.data(), head_bias.data());
    if (!model) abort();
    std::vector<int32_t> ids(B * T), next(B);
    for (int32_t &id : ids) id = draw(V + 1);
    for (int32_t &id : next) id = draw(V + 1);
    std::vector<std::vector<float>> states;
    std::vector<float *> at;
    for (int32_t H : hidden) states.push_back(numbers(S * B * H));
    for (auto &state : states) at.push_back(state.data());
    std::vector<double> nats(B * T);
    std::vector<float> logits(B * V), costs(B * T);
    if (charrnn_score(model, ids.data(), B, T, at.data(), nats.data())) abort();
    if (charrnn_step(model, next.data(), B, at.data(), logits.data())) abort();
    for (int n = 0; n < B * T; n++) costs[n] = (float)nats[n];
    mix(costs);
    mix(logits);
    for (const auto &state : states) mix(state);
    for (int controlled = 0; controlled < 2; controlled++) sample(model, V, at.data(), controlled);
    charrnn_model_free(model);
}

void everything(int precision) {
    for (int cell = CHARRNN_RNN_TANH; cell <= CHARRNN_GRU; cell++)
        for (int threads : {1, 2})
            for (int H : {1, 7, 16, 33, 100}) {
                for (int B : {1, 3, 9})
                    for (int T : {1, 5})
                        for (bool chosen : {false, true}) train(precision, cell, threads, B, T, 6, H, chosen, B != 3);
                score(precision, cell, threads, 3, 4, 13, 5, {H});
                score(precision, cell, threads, 1, 700, 1, 5, {H, H});
                score(precision, cell, threads, 2, 3, 70, 33, {H, 9});
            }
    for (int V : {1, 2, 16, 65, 300}) head(precision, 2, 21, 33, V);
    head(precision, 2, 300, 4, 70000);  // more rows than are held at a time
}

}  // namespace

int main() {
    everything(CHARRNN_FLOAT32);
    for (int threads : {1, 2, 3}) update(threads, {1, 4096, 7, 9000, 12});
    printf("%s %016llx\n", charrnn_isa(), (unsigned long long)hash);
    everything(CHARRNN_BFLOAT16);
    printf("%s %016llx\n", charrnn_has_bfloat16() ? charrnn_isa() : "emulated", (unsigned long long)hash);
}
