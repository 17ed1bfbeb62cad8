#ifndef CLLM_HPP
#define CLLM_HPP

/**
 * cllm for C++17: objects that free themselves, errors as exceptions, callbacks as std::function.
 * Header-only and optional: it calls the C functions, whose headers say all the rest. Nothing is
 * thrown through the C library: what a callback throws is kept and thrown again on this side.
 *
 *     cllm::Model model = cllm::Model::read("model.cllm");
 *     cllm::Inference inference(model);
 *     inference.seed(42);
 *     std::cout << inference.generate("once upon a") << '\n';
 *
 * Objects can be moved; a Model can also be copied: copies are the same model, which is freed with
 * the last of them, so an Inference or a Training never outlives its model. An object that was moved
 * from can be assigned to and destroyed; everything else throws an Error. get() is the C object, for
 * functions that have no wrapper here. One object, one thread at a time.
 */

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "cllm.h"
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_tokenizer.h"
#include "cllm_training.h"
#include "cllm_training_mt.h"
#include "cllm_utils.h"

namespace cllm {

/** A call failed; what() is the text of cllm_last_error(). */
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/** The version of the library that is running, as in "1.0.0". */
inline std::string version() { return cllm_version(); }

namespace detail {

[[noreturn]] inline void fail() { throw Error(cllm_last_error()); }

/** For functions that return 0, or -1 on failure. */
inline void check(int result) {
    if (result != 0) fail();
}

/** For functions that return 1 for yes, 0 for no, -1 on failure. */
inline bool yes(int result) {
    if (result < 0) fail();
    return result == 1;
}

/** For functions that return an object, or NULL on failure. */
template <class T>
T *check(T *object) {
    if (object == nullptr) fail();
    return object;
}

/** The C object of a wrapper that still has it. */
template <class T>
T *live(T *object, const char *name) {
    if (object == nullptr) throw Error(std::string("cllm::") + name + ": the object was moved from");
    return object;
}

template <class T, void (*release)(T *)>
struct Release {
    void operator()(T *object) const { release(object); }
};

struct Free {
    void operator()(void *block) const { std::free(block); }
};

/** A function of the program and what it threw, while C calls it. */
template <class Function>
struct Callback {
    Function function;
    std::exception_ptr thrown;
    bool stopped = false;

    /** Calls the function; false (stop) where it throws. */
    template <class... Arguments>
    bool operator()(const Arguments &...arguments) noexcept {
        try {
            stopped = !function(arguments...);
        } catch (...) {
            thrown = std::current_exception();
            stopped = true;
        }
        return !stopped;
    }

    void rethrow() {
        if (thrown) std::rethrow_exception(std::exchange(thrown, nullptr));
    }
};

using LogFunction = std::function<void(int, std::string_view)>;

inline LogFunction &log_function() {
    static LogFunction function;
    return function;
}

inline void to_log(int level, const char *message, void *) noexcept {
    try {
        log_function()(level, message);
    } catch (...) {
        // A message that can't be shown is no reason to fail.
    }
}

} // namespace detail

/**
 * Sends the library's messages (level CLLM_LOG_..., text) to `function` instead of stderr; an empty
 * one brings stderr back. For the whole process; not while other threads are inside the library.
 */
inline void log_to(std::function<void(int, std::string_view)> function) {
    cllm_set_log_callback(nullptr, nullptr);
    detail::log_function() = std::move(function);
    if (detail::log_function()) cllm_set_log_callback(detail::to_log, nullptr);
}

/** Drops the library's messages; exceptions tell what failed. */
inline void log_nothing() { cllm_set_log_silent(); }

/** How many threads calls may use that are not told how many; 0: all processors. */
inline void set_threads(int count) { detail::check(cllm_set_threads(count)); }

/** A vocabulary. */
class Tokenizer {
public:
    /** An empty one that takes up to `max_words`. */
    explicit Tokenizer(std::uint32_t max_words = 10000)
        : tokenizer_(detail::check(cllm_create_tokenizer(max_words))) {}

    /** The words of a vocab.txt. */
    static Tokenizer load(const std::string &path, std::uint32_t max_words = 1000000) {
        Tokenizer tokenizer(max_words);
        if (cllm_load_vocab(tokenizer.get(), path.c_str()) != 1) detail::fail();
        return tokenizer;
    }

    /** Subwords, learnt from a text: cllm_train_tokenizer(). */
    static Tokenizer train(std::string_view text, std::uint32_t size) {
        return Tokenizer(cllm_train_tokenizer(text.data(), text.size(), size, nullptr, nullptr));
    }
    /** The 256 bytes and the special tokens. */
    static Tokenizer bytes() { return Tokenizer(cllm_byte_tokenizer()); }
    /** A tokenizer.json. */
    static Tokenizer read(const std::string &path) {
        return Tokenizer(cllm_read_tokenizer(path.c_str()));
    }
    /** Takes over a tokenizer of the C functions; an Error where it is NULL. A template, so that
     *  Tokenizer(0) is one of 0 words and no null pointer. */
    template <class T, std::enable_if_t<std::is_same<T, CLLMTokenizer>::value, int> = 0>
    explicit Tokenizer(T *tokenizer) : tokenizer_(detail::check(tokenizer)) {}

    /** Writes a tokenizer.json, of subwords. */
    void write(const std::string &path) const {
        detail::check(cllm_write_tokenizer(get(), path.c_str()));
    }
    /** CLLM_TOKENS_WORDS, CLLM_TOKENS_SUBWORDS or CLLM_TOKENS_BYTES. */
    int kind() const { return cllm_tokenizer_kind(get()); }
    /** The token that ends a text; -1 without one. */
    int end() const { return cllm_end_token(get()); }

    /** The tokens of any bytes; text that spells a special token becomes it where `specials`. */
    std::vector<std::uint32_t> tokens(std::string_view text, bool specials = false,
                                      int threads = 1) const {
        std::size_t count = 0;
        const char *data = text.empty() ? "" : text.data();
        std::unique_ptr<std::uint32_t, detail::Free> ids(detail::check(
            cllm_text_to_tokens(get(), data, text.size(), specials, threads, &count)));
        return {ids.get(), ids.get() + count};
    }
    /** The bytes of tokens: tokens() backwards. */
    std::string text(const std::vector<std::uint32_t> &ids, bool specials = false) const {
        std::size_t length = 0;
        std::unique_ptr<char, detail::Free> bytes(detail::check(
            cllm_tokens_to_text(get(), ids.data(), ids.size(), specials, &length)));
        return std::string(bytes.get(), length);
    }

    void save(const std::string &path) const {
        if (cllm_save_vocab(get(), path.c_str()) != 1) detail::fail();
    }

    /** Adds the words of a text. */
    void build(const std::string &text) { cllm_build_vocab(get(), text.c_str()); }

    std::vector<std::uint32_t> encode(const std::string &text) const {
        std::uint32_t count = 0;
        std::unique_ptr<std::uint32_t, detail::Free> ids(
            detail::check(cllm_tokenizer_encode(get(), text.c_str(), &count)));
        return {ids.get(), ids.get() + count};
    }

    std::string decode(std::vector<std::uint32_t> ids) const {
        std::unique_ptr<char, detail::Free> text(detail::check(
            cllm_tokenizer_decode(get(), ids.data(), static_cast<std::uint32_t>(ids.size()))));
        return text.get();
    }

    std::uint32_t size() const { return cllm_get_vocab_size(get()); }
    std::string word(std::uint32_t id) const { return cllm_get_token_string(get(), id); }
    CLLMTokenizer *get() const { return detail::live(tokenizer_.get(), "Tokenizer"); }

private:
    std::unique_ptr<CLLMTokenizer, detail::Release<CLLMTokenizer, cllm_free_tokenizer>> tokenizer_;
};

/** What Model::evaluate() found. */
struct Evaluation {
    double mean_loss;  ///< nats per token
    double perplexity; ///< e^mean_loss
};

/** A model; copies are the same model. */
class Model {
public:
    /** A new one with random weights: srand() makes them reproducible. */
    explicit Model(const CLLMConfig &sizes) : Model(cllm_create_model(&sizes)) {}
    /** Takes over a model of the C functions; an Error where it is NULL. */
    explicit Model(CLLMModel *model) : model_(detail::check(model), cllm_free_model) {}

    static Model read(const std::string &path) { return Model(cllm_read_model(path.c_str())); }
    /** The model stays in its file, which processes share: see cllm_map_model(). */
    static Model map(const std::string &path) { return Model(cllm_map_model(path.c_str())); }
    bool is_mapped() const { return detail::yes(cllm_model_is_mapped(get())); }
    /** Looks at every byte of a mapped file: an Error where it is damaged. */
    void verify() const { detail::check(cllm_verify_model(get())); }
    void write(const std::string &path) const {
        detail::check(cllm_write_model(get(), path.c_str()));
    }

    /** The same model with 8-bit weights, for generation; threads 0: as set_threads() says. */
    Model quantize(int threads = 0) const { return Model(cllm_quantize_model(get(), threads)); }
    /** A model of floats of one with 8-bit weights, for training. */
    Model expand() const { return Model(cllm_expand_model(get())); }
    bool is_quantized() const { return detail::yes(cllm_model_is_quantized(get())); }

    /** Its tokenizer, with room for words up to `max_words`: see cllm_model_tokenizer(). */
    Tokenizer tokenizer(std::uint32_t max_words = 0) const {
        return Tokenizer(cllm_model_tokenizer(get(), max_words));
    }
    /** More words, at ids behind the old ones: see cllm_grow_vocab(). How many ids are new. */
    int grow_vocab(const Tokenizer &tokenizer) {
        int added = cllm_grow_vocab(get(), tokenizer.get());
        if (added < 0) detail::fail();
        return added;
    }

    /** Gives the model its words or subwords, which travel with its file. */
    void set_vocab(const Tokenizer &tokenizer) {
        detail::check(cllm_model_set_vocab(get(), tokenizer.get()));
    }
    void load_vocab(const std::string &path) {
        detail::check(cllm_model_load_vocab(get(), path.c_str()));
    }

    /** Loss and perplexity of held-out ids in windows of `length`; threads 0: all processors. */
    Evaluation evaluate(const std::vector<std::uint32_t> &ids, int length, int threads = 0) const {
        Evaluation found{};
        detail::check(cllm_evaluate(get(), ids.data(), ids.size(), length, threads,
                                    &found.mean_loss, &found.perplexity));
        return found;
    }

    /** The same as nats per token and bits per byte of the text that the ids stand for. */
    CLLMScore evaluate_bytes(const std::vector<std::uint32_t> &ids, std::size_t bytes, int length,
                             int threads = 0) const {
        CLLMScore score{};
        score.struct_size = sizeof score;
        detail::check(cllm_evaluate_bytes(get(), ids.data(), ids.size(), bytes, length, threads, &score));
        return score;
    }

    CLLMModel *get() const { return detail::live(model_.get(), "Model"); }

private:
    std::shared_ptr<CLLMModel> model_;
};

/** A context that generates text. */
class Inference {
public:
    explicit Inference(Model model)
        : model_(std::move(model)), inference_(detail::check(cllm_inference_init(model_.get()))) {}

    void seed(std::uint64_t seed) { detail::check(cllm_set_seed(get(), seed)); }
    void greedy(bool on = true) { detail::check(cllm_set_greedy(get(), on)); }
    void temperature(float value) { cllm_set_temperature(get(), value); }
    void top_k(int value) { cllm_set_top_k(get(), value); }
    void top_p(float value) { cllm_set_top_p(get(), value); }
    void min_p(float value) { detail::check(cllm_set_min_p(get(), value)); }
    /** Whether special words and slots without a word may be drawn; they may not by default. */
    void allow_special(bool on = true) { detail::check(cllm_set_allow_special(get(), on)); }
    void repetition_penalty(float value) {
        detail::check(cllm_set_repetition_penalty(get(), value));
    }
    /** Tokens that generate(), stream() and go_on() add at most. */
    void max_tokens(int value) { cllm_set_max_tokens(get(), value); }
    void threads(int count) { detail::check(cllm_inference_set_threads(get(), count)); }

    /** The continuation of a prompt, without the prompt. */
    std::string generate(const std::string &prompt) {
        std::string text;
        stream(prompt, [&](std::string_view piece) {
            text += piece;
            return true;
        });
        return text;
    }

    /** Hands each new word to `callback`, which returns false to stop; how many tokens came. */
    int stream(const std::string &prompt, std::function<bool(std::string_view)> callback) {
        return run(std::move(callback), [&](CLLMTokenCallback to, void *user_data) {
            return cllm_generate_stream(get(), prompt.c_str(), to, user_data);
        });
    }

    /** Goes on where the latest generation, or a restored state, stands. */
    int go_on(std::function<bool(std::string_view)> callback) {
        return run(std::move(callback), [&](CLLMTokenCallback to, void *user_data) {
            return cllm_continue_stream(get(), to, user_data);
        });
    }

    /** How well the model predicts a text, in windows of its context: see cllm_score_text(). */
    CLLMScore score(std::string_view text, int stride = 0) {
        CLLMScore score{};
        score.struct_size = sizeof score;
        detail::check(cllm_score_text(get(), text.data(), text.size(), stride, &score));
        return score;
    }

    /** The natural logarithm of each id's probability after those before it; 0 for the first. */
    std::vector<float> log_probs(const std::vector<std::uint32_t> &ids, int stride = 0) {
        std::vector<float> found(ids.size());
        detail::check(cllm_score_tokens(get(), ids.data(), ids.size(), stride, 0, found.data(), nullptr,
                                        nullptr));
        return found;
    }

    /** The likeliest next tokens, likeliest first; `count` of them, or all. */
    std::vector<IndexProb> next_tokens(const std::vector<std::uint32_t> &ids, int count) {
        std::size_t room = count < 0 ? 0 : static_cast<std::size_t>(count);
        if (room > model_.get()->vocab_size) room = model_.get()->vocab_size;
        std::vector<IndexProb> next(room + 1); // an address also where the count is refused
        int found = cllm_next_tokens(get(), ids.data(), ids.size(), next.data(), count);
        if (found < 0) detail::fail();
        next.resize(static_cast<std::size_t>(found));
        return next;
    }

    /** The likeliest next words, each with its probability, likeliest first. */
    std::vector<std::pair<std::string, float>> next_words(const std::string &prompt, int count) {
        std::vector<std::pair<std::string, float>> words;
        auto add = [&words](std::string_view word, float probability) {
            words.emplace_back(word, probability);
            return true;
        };
        detail::Callback<std::function<bool(std::string_view, float)>> to{add, nullptr, false};
        int found = cllm_next_words(get(), prompt.c_str(), count, &Inference::word, &to);
        to.rethrow();
        if (found < 0) detail::fail();
        return words;
    }

    /** A vector for a text: the mean of its tokens' (CLLM_POOLING_MEAN), or the last one's. */
    std::vector<float> embed(std::string_view text, int pooling = CLLM_POOLING_MEAN) {
        std::vector<float> embedding(static_cast<std::size_t>(model_.get()->embedding_dim));
        detail::check(cllm_embed_text(get(), text.data(), text.size(), pooling, embedding.data()));
        return embedding;
    }

    /** Only these tokens are drawn from now on; allow_all() lets all come again. */
    void allow_only(const std::vector<std::uint32_t> &ids) {
        std::uint32_t none = 0;
        detail::check(cllm_set_allowed_tokens(get(), ids.empty() ? &none : ids.data(), ids.size()));
    }
    void allow_all() { detail::check(cllm_set_allowed_tokens(get(), nullptr, 0)); }

    /** Settings, generator and sequence: see cllm_inference_get_state(). */
    std::vector<unsigned char> state() const {
        unsigned char *bytes = nullptr;
        std::size_t size = 0;
        detail::check(cllm_inference_get_state(get(), &bytes, &size));
        std::unique_ptr<unsigned char, detail::Free> owner(bytes);
        return {bytes, bytes + size};
    }
    void restore(const std::vector<unsigned char> &state) {
        detail::check(cllm_inference_set_state(get(), state.data(), state.size()));
    }

    CLLMInference *get() const { return detail::live(inference_.get(), "Inference"); }

private:
    using Pieces = detail::Callback<std::function<bool(std::string_view)>>;

    static bool word(const char *text, std::size_t length, float probability, void *callback) noexcept {
        return (*static_cast<detail::Callback<std::function<bool(std::string_view, float)>> *>(callback))(
            std::string_view(text, length), probability);
    }

    static bool piece(const char *text, std::size_t length, std::uint32_t, void *callback) noexcept {
        return (*static_cast<Pieces *>(callback))(std::string_view(text, length));
    }

    template <class Call>
    int run(std::function<bool(std::string_view)> function, Call call) {
        Pieces pieces{std::move(function), nullptr, false};
        int made = call(&Inference::piece, &pieces);
        pieces.rethrow();
        if (made < 0) detail::fail();
        return made;
    }

    Model model_; // outlives the context: members are destroyed from the last to the first
    std::unique_ptr<CLLMInference, detail::Release<CLLMInference, cllm_inference_cleanup>> inference_;
};

/** A training run over a model. */
class Training {
public:
    /** Trains `model` on `ids`, which the object keeps. */
    Training(Model model, CLLMTrainingConfig config, std::vector<std::uint32_t> ids)
        : model_(std::move(model)), ids_(std::move(ids)), watch_(new Watch),
          training_(detail::check(cllm_training_init(model_.get(), &config))) {
        training_->tokens = ids_.data();
        training_->num_tokens = ids_.size();
    }

    /** Called after each batch; returns false to stop. An empty function: nothing is called. */
    void on_progress(std::function<bool(const CLLMProgress &)> callback) {
        CLLMTraining *training = get();
        watch_->function = std::move(callback);
        CLLMProgressCallback to = watch_->function ? &Training::progress : nullptr;
        detail::check(cllm_set_progress_callback(training, to, watch_.get()));
    }

    /** One pass over the ids: the mean loss. Threads 0: all processors; same result for any. */
    float epoch(int threads = 0) {
        get()->current_batch_offset = 0;
        float loss = 0;
        int ran = steps(0, threads, &loss);
        if (ran > 0 && !watch_->stopped) steps(0, threads); // finds no batch left: the epoch ends
        return loss;
    }

    /** Up to `count` batches, to the end of the epoch at most; how many: 0 at the epoch's end. */
    int steps(int count, int threads = 0, float *mean_loss = nullptr) {
        CLLMTraining *training = get();
        watch_->stopped = false;
        int ran = cllm_train_steps(training, count, threads, mean_loss);
        watch_->rethrow();
        if (ran < 0) detail::fail();
        return ran;
    }

    void save(const std::string &path) const {
        detail::check(cllm_save_checkpoint(get(), path.c_str()));
    }
    void resume(const std::string &path) {
        detail::check(cllm_load_checkpoint(get(), path.c_str()));
    }

    CLLMTraining *get() const { return detail::live(training_.get(), "Training"); }

private:
    using Watch = detail::Callback<std::function<bool(const CLLMProgress &)>>;

    static bool progress(const CLLMProgress *progress, void *watch) noexcept {
        return (*static_cast<Watch *>(watch))(*progress);
    }

    Model model_;
    std::vector<std::uint32_t> ids_;
    std::unique_ptr<Watch> watch_; // at one address, wherever the object is moved
    std::unique_ptr<CLLMTraining, detail::Release<CLLMTraining, cllm_training_free>> training_;
};

} // namespace cllm

#endif /* CLLM_HPP */
