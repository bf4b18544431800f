// Self-test: calls all of the core with small odd sizes, in memory of exactly the sizes asked for, and prints hashes of all
// results. Built with sanitizers it finds reads and writes out of bounds; built for another processor it must print the
// same. Needs nothing but this folder: see tests/engines/native/test_build.py. This file is long: it calls every function.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <string>
#include <vector>

#include "charrnn.h"

namespace {

uint64_t hash = 14695981039346656037ull;
uint64_t outputs_hash = hash;  // of test_outputs, apart, so that `hash` can be compared with that of older versions
uint32_t seed = 1;

// A pseudorandom number below `bound`.
uint32_t random_below(uint32_t bound) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % bound;
}

std::vector<float> random_floats(size_t count) {
    std::vector<float> numbers(count);
    for (float &number : numbers) number = (float)((int)random_below(2001) - 1000) * 5e-4f;
    return numbers;
}

// Mix results into the hash (FNV-1a).
template <typename Item> void mix(const std::vector<Item> &items) {
    const unsigned char *bytes = reinterpret_cast<const unsigned char *>(items.data());
    for (size_t at = 0; at < items.size() * sizeof(Item); at++) hash = (hash ^ bytes[at]) * 1099511628211ull;
}

struct Aligned {
    void *memory = nullptr;
    explicit Aligned(int64_t size) {
        if (posix_memalign(&memory, 64, size)) abort();
    }
    ~Aligned() { free(memory); }
    Aligned(const Aligned &) = delete;
};

struct CellSize {
    int gates, states, peepholes;
    bool recurrent;  // whether gates read the state
};

const CellSize cell_sizes[] = {  // by number
    {1, 1, 0, true}, {1, 1, 0, true}, {1, 1, 0, true}, {4, 2, 0, true},  {3, 1, 0, true},
    {4, 2, 3, true}, {3, 1, 0, true}, {2, 1, 0, true}, {2, 1, 0, false}, {3, 1, 0, false},
    {4, 2, 0, true}, {4, 2, 3, true}, {4, 2, 0, true}, {3, 1, 0, true},  {3, 1, 0, true},
};

struct Layer {
    std::vector<float> weight_ih, weight_hh, bias_ih, bias_hh, weight_ch;
    Layer(CellSize cell, int inputs, int hidden)
        : weight_ih(random_floats(cell.gates * hidden * inputs)),
          weight_hh(random_floats(cell.recurrent * cell.gates * hidden * hidden)),
          bias_ih(random_floats(cell.gates * hidden)), bias_hh(random_floats(cell.recurrent * cell.gates * hidden)),
          weight_ch(random_floats(cell.peepholes * hidden)) {}
    charrnn_weights weights() const {
        return {weight_ih.data(), weight_hh.data(), bias_ih.data(), bias_hh.data(), weight_ch.data()};
    }
};

void test_layer(int precision, int cell, int threads, int B, int T, int inputs, int H, bool indexed, bool reset) {
    const CellSize size = cell_sizes[cell];
    const int S = size.states, rows = indexed ? 5 : T * B;
    const Layer layer(size, inputs, H);
    const std::vector<float> x = random_floats(rows * inputs), state = random_floats(S * B * H);
    const std::vector<float> dh = random_floats(T * B * H), dstate_after = random_floats(S * B * H);
    std::vector<int32_t> index(T * B);
    std::vector<uint8_t> resets(T * B);
    for (int32_t &row : index) row = random_below(rows);
    for (uint8_t &flag : resets) flag = random_below(4) == 0;
    charrnn_layer call = {precision, cell, threads, T, B, inputs, H, rows, x.data(), indexed ? index.data() : nullptr,
                          reset ? resets.data() : nullptr, layer.weights(), state.data(), nullptr, nullptr};
    const Aligned saved(charrnn_layer_saved_size(&call)), work(charrnn_layer_work_size(&call));
    call.saved = saved.memory;
    call.work = work.memory;
    std::vector<float> after(S * B * H), dstate(S * B * H), dx(rows * inputs);
    Layer gradients = layer;
    charrnn_layer_forward(&call, after.data());
    const int padded = (H + 15) / 16 * 16;
    for (int row = B; row < (T + 1) * B; row++) {
        const float *h = static_cast<const float *>(call.saved) + row * padded;
        mix(std::vector<float>(h, h + H));
    }
    charrnn_layer_backward(&call, dh.data(), H, dstate_after.data(), dx.data(), gradients.weight_ih.data(),
                           gradients.weight_hh.data(), gradients.bias_ih.data(), gradients.bias_hh.data(),
                           gradients.weight_ch.data(), dstate.data());
    for (const auto &result : {after, dstate, dx, gradients.weight_ih, gradients.weight_hh, gradients.bias_ih, gradients.bias_hh,
                               gradients.weight_ch})
        mix(result);
}

void test_softmax_xent(int precision, int threads, int rows, int F, int V) {
    const std::vector<float> x = random_floats(rows * F), weight = random_floats(V * F), bias = random_floats(V);
    std::vector<int32_t> targets(rows);
    for (int32_t &target : targets) target = random_below(V);
    charrnn_softmax_xent call = {precision, threads, rows, F, V, rows, x.data(), F, weight.data(), bias.data(), targets.data(), nullptr};
    const Aligned work(charrnn_softmax_xent_work_size(&call));
    call.work = work.memory;
    std::vector<float> dx(rows * F), dweight(V * F), dbias(V);
    // float: the logarithm is the C library's and may differ in the last bit of the double elsewhere
    mix(std::vector<float>{(float)charrnn_softmax_xent_loss(&call, dx.data(), F, dweight.data(), dbias.data())});
    mix(std::vector<float>{(float)charrnn_softmax_xent_loss(&call, nullptr, 0, nullptr, nullptr)});
    for (const auto &result : {dx, dweight, dbias}) mix(result);
}

void test_optimizer(int threads, std::vector<int64_t> sizes) {
    std::vector<std::vector<float>> weights, gradients, exp_avg, exp_avg_sq;
    std::vector<float *> w, m, v;
    std::vector<const float *> g;
    for (int64_t size : sizes) {
        weights.push_back(random_floats(size));
        gradients.push_back(random_floats(size));
        exp_avg.push_back(random_floats(size));
        exp_avg_sq.push_back(random_floats(size));
        for (float &square : exp_avg_sq.back()) square *= square;
        w.push_back(weights.back().data());
        g.push_back(gradients.back().data());
        m.push_back(exp_avg.back().data());
        v.push_back(exp_avg_sq.back().data());
    }
    const std::vector<float> decay_factors = random_floats(sizes.size()), step_sizes = random_floats(sizes.size());
    charrnn_optimizer call = {threads, (int32_t)sizes.size(), sizes.data(), w.data(), g.data(), m.data(), v.data(),
                           decay_factors.data(), step_sizes.data(), 0.5f, 0.9f, 0.99f, 2.0f, 1e-8f, nullptr};
    const Aligned work(charrnn_optimizer_work_size(&call));
    call.work = work.memory;
    mix(std::vector<double>{charrnn_optimizer_gradient_norm(&call)});
    charrnn_optimizer_adamw(&call);
    for (const auto *results : {&weights, &exp_avg, &exp_avg_sq})
        for (const auto &tensor : *results) mix(tensor);
}

// Texts that start from the first row of these states.
void test_sampler(charrnn_model *model, int V, const float *const *state, bool constrained) {
    const std::vector<float> logits = random_floats(V);
    std::vector<int32_t> dfa(2 * V);
    for (int32_t &next : dfa) next = (int32_t)random_below(constrained ? 4 : 2) - (constrained ? 2 : 0);
    dfa[0] = dfa[V] = 1;
    const int32_t dfa_start = 0;
    const charrnn_sampler_request request = {
        1, 12, 9, 5, constrained ? 4 : 0, constrained ? 0.7 : 1.0, constrained ? 0.9 : 1.0, constrained ? 0.01 : 0.0,
        V + 1u, 5, logits.data(), state, &dfa_start, 2, dfa.data(), nullptr, 0, {}, nullptr, {}};
    charrnn_sampler *sampler = charrnn_sampler_new(model, &request);
    if (!sampler) abort();
    std::vector<int64_t> texts(17);
    std::vector<int32_t> ids(17);
    std::vector<double> nats(17);
    std::vector<uint8_t> last(17);
    std::vector<std::vector<int32_t>> tokens(12);  // by text: how texts alternate depends on the clock
    for (int64_t count; (count = charrnn_sampler_advance(sampler, 0, 17, texts.data(), ids.data(), nats.data(), last.data()));) {
        if (count < 0) abort();
        for (int64_t n = 0; n < count; n++) tokens[texts[n]].push_back(last[n] ? -1 - ids[n] : ids[n]);
        charrnn_sampler_finish(sampler, 7);
    }
    charrnn_sampler_free(sampler);
    tokens[7].clear();  // where it was finished depends on the clock
    for (const auto &text : tokens) mix(text);
}

// Scores with log-probabilities, and texts after several prompts that must end within their length.
void test_outputs(charrnn_model *model, int S, int B, int T, int V, const std::vector<int32_t> &hidden) {
    std::vector<int32_t> ids(B * T);
    for (int32_t &id : ids) id = random_below(V + 1);
    std::vector<std::vector<float>> states;
    std::vector<float *> state;
    for (int32_t H : hidden) states.push_back(std::vector<float>(S * B * H));
    for (auto &layer : states) state.push_back(layer.data());
    std::vector<double> nats(B * T);
    std::vector<float> ln_p(B * T * V), again(B * T * V);
    if (charrnn_model_score(model, ids.data(), B, T, state.data(), nats.data(), ln_p.data())) abort();
    for (auto &layer : states) std::fill(layer.begin(), layer.end(), 0.0f);
    if (charrnn_model_score(model, ids.data(), B, T, state.data(), nullptr, again.data())) abort();
    for (int n = 0; n < B * T; n++)
        if (ids[n] < V && ln_p[n * V + ids[n]] != (float)-nats[n]) abort();
    if (ln_p != again) abort();
    mix(ln_p);

    const int A = 3, per_prompt = 3, length = 7;  // id 0 leads to the next state, and from the last one to the end
    std::vector<int32_t> dfa(A * V), dfa_start(B);
    for (int32_t &next : dfa) next = random_below(A);
    for (int32_t &start : dfa_start) start = random_below(A);
    for (int a = 0; a < A; a++) dfa[a * V] = a + 1 < A ? a + 1 : CHARRNN_END;
    const int32_t distance[A] = {3, 2, 1};
    const std::vector<float> logits = random_floats(B * V);
    const charrnn_sampler_request request = {B, per_prompt, length, 4, 0, 1.5, 1, 0, 9, 5, logits.data(), state.data(),
                                             dfa_start.data(), A, dfa.data(), distance, 0, {}, nullptr, {}};
    charrnn_sampler *sampler = charrnn_sampler_new(model, &request);
    if (!sampler) abort();
    int64_t texts[8];
    int32_t drawn[8];
    double drawn_nats[8];
    uint8_t last[8];
    std::vector<std::vector<int32_t>> tokens(B * per_prompt);
    std::vector<std::vector<float>> costs(B * per_prompt);
    std::vector<int32_t> finished(B * per_prompt);
    for (int64_t count; (count = charrnn_sampler_advance(sampler, 0, 8, texts, drawn, drawn_nats, last));) {
        if (count < 0) abort();
        for (int64_t n = 0; n < count; n++) {
            tokens[texts[n]].push_back(drawn[n]);
            costs[texts[n]].push_back((float)drawn_nats[n]);
            if (last[n]) finished[texts[n]] = drawn[n] == 0 && tokens[texts[n]].size() <= length;
        }
    }
    charrnn_sampler_free(sampler);
    for (int text = 0; text < B * per_prompt; text++) {
        if (!finished[text]) abort();
        mix(tokens[text]);
        mix(costs[text]);
    }
}

// Texts after two prompts, in which neither two ids nor three characters of a text of a and b come again; of tokens of several
// characters, and of bytes that are none.
void test_guards(charrnn_model *model, int V, const float *const *state) {
    const uint64_t base = 0x9E3779B97F4A7C15u, mask = (1 << 21) - 1;
    std::vector<std::string> tokens(V);
    for (int v = 0; v < V; v++)
        for (int size = random_below(4); size >= 0; size--)
            tokens[v] += "ab\xE6\x97"[random_below(size ? 2 : 4)];
    std::vector<uint64_t> keys;
    for (uint64_t first : {'a', 'b'})
        for (uint64_t second : {'a', 'b'})
            for (uint64_t third : {'a', 'b'})
                if (random_below(3)) keys.push_back((((first * base) + second) * base & ~mask) | third);
    std::sort(keys.begin(), keys.end());
    std::string bytes;
    std::vector<int32_t> offsets, sizes, order, shared;
    for (const std::string &token : tokens) {
        order.push_back((int32_t)order.size());
        offsets.push_back((int32_t)bytes.size());
        sizes.push_back((int32_t)token.size());
        bytes += token;
    }
    std::sort(order.begin(), order.end(), [&](int x, int y) { return tokens[x] < tokens[y]; });
    for (int n = 0; n < V; n++) {
        int32_t same = 0;
        if (n)
            while (same < sizes[order[n]] && same < sizes[order[n - 1]] &&
                   tokens[order[n]][same] == tokens[order[n - 1]][same])
                same++;
        shared.push_back(same);
    }
    const std::vector<uint8_t> data(bytes.begin(), bytes.end());
    const charrnn_copy_index copies = {2, (int64_t)keys.size(), base, keys.data(), 4, 0, data.data(), offsets.data(),
                                       sizes.data(), order.data(), shared.data()};
    std::vector<int32_t> before(300);  // more than there is memory for at first
    for (int32_t &id : before) id = random_below(V);
    const int64_t ends[] = {0, 300};
    const std::vector<float> logits = random_floats(2 * V);
    const std::vector<int32_t> dfa(V);
    const int32_t dfa_start[] = {0, 0};
    const charrnn_sampler_request request = {2, 3, 9, 4, 0, 1.5, 1, 0, 9, 5, logits.data(), state, dfa_start, 1,
                                             dfa.data(), nullptr, 2, {before.data(), ends}, &copies, {before.data(), ends}};
    charrnn_sampler *sampler = charrnn_sampler_new(model, &request);
    if (!sampler) abort();
    int64_t texts[8];
    int32_t drawn[8];
    uint8_t last[8];
    std::vector<std::vector<int32_t>> found(6);
    for (int64_t count; (count = charrnn_sampler_advance(sampler, 0, 8, texts, drawn, nullptr, last));) {
        if (count < 0) abort();
        for (int64_t n = 0; n < count; n++) found[texts[n]].push_back(drawn[n]);
    }
    charrnn_sampler_free(sampler);
    for (const auto &text : found) mix(text);
}

// clusters: how many the head has, of two levels; 0: it is one softmax.
void test_model(int precision, int cell, int threads, int B, int T, int V, int E, std::vector<int32_t> hidden,
                int clusters = 0) {
    const CellSize size = cell_sizes[cell];
    const int S = size.states, L = (int)hidden.size();
    std::vector<Layer> layers;
    int features = hidden[0];
    for (int layer = 0; layer < L; layer++) layers.emplace_back(size, layer ? hidden[layer - 1] : E, hidden[layer]);
    if (L > 1 && hidden[1] != hidden[0]) features += hidden[1];
    std::vector<charrnn_weights> weights;
    for (const Layer &layer : layers) weights.push_back(layer.weights());
    const std::vector<float> embeddings = random_floats((V + 1) * E);
    const int rows = V + clusters;
    const std::vector<float> head_weight = random_floats(rows * features), head_bias = random_floats(rows);
    std::vector<uint8_t> cluster_of(clusters ? V : 0);
    for (uint8_t &cluster : cluster_of) cluster = (uint8_t)random_below(clusters + 1);
    for (int cluster = 0; cluster <= clusters && clusters; cluster++) cluster_of[cluster] = (uint8_t)cluster;
    charrnn_model *model = charrnn_model_new(precision, cell, threads, V, E, L, hidden.data(), embeddings.data(),
                                             weights.data(), head_weight.data(), head_bias.data(),
                                             clusters ? cluster_of.data() : nullptr);
    if (!model) abort();
    std::vector<int32_t> ids(B * T), next(B);
    for (int32_t &id : ids) id = random_below(V + 1);
    for (int32_t &id : next) id = random_below(V + 1);
    std::vector<std::vector<float>> states;
    std::vector<float *> at;
    for (int32_t H : hidden) states.push_back(random_floats(S * B * H));
    for (auto &state : states) at.push_back(state.data());
    std::vector<double> nats(B * T);
    std::vector<float> logits(B * V), nats_float(B * T);
    if (charrnn_model_score(model, ids.data(), B, T, at.data(), nats.data(), nullptr)) abort();
    if (charrnn_model_step(model, next.data(), B, at.data(), logits.data())) abort();
    for (int n = 0; n < B * T; n++) nats_float[n] = (float)nats[n];
    mix(nats_float);
    mix(logits);
    for (const auto &state : states) mix(state);
    for (int constrained = 0; constrained < 2; constrained++) test_sampler(model, V, at.data(), constrained);
    std::swap(hash, outputs_hash);
    const uint32_t seed_before = seed;
    test_outputs(model, S, B, T < 9 ? T : 9, V, hidden);
    if (B > 1) test_guards(model, V, at.data());
    seed = seed_before;
    std::swap(hash, outputs_hash);
    charrnn_model_free(model);
}

void test_cells(int precision, int first, int last) {
    for (int cell = first; cell <= last; cell++)
        for (int threads : {1, 2})
            for (int H : {1, 7, 16, 33, 100}) {
                if (cell > CHARRNN_GRU && (threads == 1 || H == 16 || H == 100)) continue;
                for (int B : {1, 6, 7})
                    for (int T : {1, 5})
                        for (bool indexed : {false, true})
                            if (precision != CHARRNN_INT8) test_layer(precision, cell, threads, B, T, 6, H, indexed, B != 6);
                test_model(precision, cell, threads, 3, 4, 13, 5, {H});
                test_model(precision, cell, threads, 1, 700, 1, 5, {H, H});
                test_model(precision, cell, threads, 2, 3, 70, 33, {H, 9});
                if (cell == CHARRNN_GRU_CROSSED) test_model(precision, cell, threads, 3, 40, 70, 5, {H}, 3);
            }
}

void test_all(int precision) {
    test_cells(precision, CHARRNN_RNN_TANH, CHARRNN_GRU);
    for (int V : {1, 2, 16, 65, 300}) test_softmax_xent(precision, 2, 21, 33, V);
    test_softmax_xent(precision, 2, 300, 4, 70000);  // more rows than have their logits in memory at a time
}

}  // namespace

int main() {
    double rates[2];
    charrnn_multiply_adds(2, 1000, rates);
    if (!(rates[0] > 0 && rates[1] > 0)) return 1;
    test_all(CHARRNN_FLOAT32);
    for (int threads : {1, 2, 3}) test_optimizer(threads, {1, 4096, 7, 9000, 12});
    printf("%s %016llx\n", charrnn_isa(), (unsigned long long)hash);
    const uint64_t float32_outputs = outputs_hash;
    test_all(CHARRNN_BFLOAT16);
    const bool emulated = !strstr(charrnn_isa(), "bf16");
    printf("%s %016llx\n", emulated ? "emulated" : charrnn_isa(), (unsigned long long)hash);
    printf("outputs %016llx\n", (unsigned long long)float32_outputs);
    const uint32_t seed_before = seed;
    hash = outputs_hash = float32_outputs;
    test_cells(CHARRNN_INT8, CHARRNN_RNN_TANH, CHARRNN_GRU_CROSSED);
    printf("int8 %016llx\n", (unsigned long long)(hash ^ outputs_hash));
    seed = seed_before;
    for (int precision : {CHARRNN_FLOAT32, CHARRNN_BFLOAT16}) {
        hash = outputs_hash = float32_outputs;
        test_cells(precision, CHARRNN_LSTM_PEEPHOLE, CHARRNN_GRU_CROSSED);
        printf("others %016llx\n", (unsigned long long)(hash ^ outputs_hash));
    }
}
