// cllm.hpp where objects were moved from, and where callbacks throw: errors are exceptions, and no
// exception passes through C. Prints what was not as it should be.
#include "cllm.hpp"

#include <cmath>
#include <iostream>
#include <stdexcept>

namespace {

int failures = 0;

template <class Function>
void throws(const char *what, Function function) {
    try {
        function();
    } catch (const cllm::Error &error) {
        if (std::string(error.what()).find("moved from") != std::string::npos) return;
        std::cerr << what << ": " << error.what() << '\n';
    }
    std::cerr << what << ": does not throw\n";
    failures++;
}

CLLMConfig shape() {
    CLLMConfig config{};
    config.vocab_size = 50, config.embedding_dim = 8, config.num_layers = 1, config.num_heads = 1;
    config.ff_dim = 16, config.max_seq_len = 16;
    return config;
}

} // namespace

int main() {
    cllm::log_nothing();

    cllm::Tokenizer words(100), new_words = std::move(words);
    throws("Tokenizer::save", [&] { words.save("x"); });
    throws("Tokenizer::build", [&] { words.build("a b"); });
    throws("Tokenizer::encode", [&] { words.encode("a b"); });
    throws("Tokenizer::decode", [&] { words.decode({1, 2}); });
    throws("Tokenizer::size", [&] { words.size(); });
    throws("Tokenizer::word", [&] { words.word(7); });
    words = std::move(new_words); // an object can be given another one's content
    if (words.size() != 5) failures++, std::cerr << "Tokenizer: not assigned\n";
    if (cllm::Tokenizer(0).size() != 5) failures++, std::cerr << "Tokenizer(0): not the five special words\n";
    if (cllm::Tokenizer(cllm_create_tokenizer(9)).size() != 5) failures++, std::cerr << "Tokenizer: not taken over\n";
    bool refused = false;
    try {
        cllm::Tokenizer nothing(static_cast<CLLMTokenizer *>(nullptr));
    } catch (const cllm::Error &) { refused = true; }
    if (!refused) failures++, std::cerr << "Tokenizer: a null pointer is taken\n";

    cllm::Model model(shape()), new_model = std::move(model);
    throws("Model::write", [&] { model.write("x"); });
    throws("Model::set_vocab", [&] { model.set_vocab(words); });
    throws("Model::load_vocab", [&] { model.load_vocab("x"); });
    throws("Model::evaluate", [&] { model.evaluate({1, 2, 3}, 2); });
    throws("Model::evaluate_bytes", [&] { model.evaluate_bytes({1, 2, 3}, 9, 2); });
    throws("Inference of a moved-from model", [&] { cllm::Inference nothing(model); });
    throws("Training of a moved-from model", [&] { cllm::Training(model, {}, {1, 2, 3}); });
    model = new_model;

    cllm::Inference inference(model), other = std::move(inference);
    throws("Inference::seed", [&] { inference.seed(1); });
    throws("Inference::greedy", [&] { inference.greedy(); });
    throws("Inference::temperature", [&] { inference.temperature(1); });
    throws("Inference::top_k", [&] { inference.top_k(1); });
    throws("Inference::top_p", [&] { inference.top_p(0.5f); });
    throws("Inference::min_p", [&] { inference.min_p(0.5f); });
    throws("Inference::repetition_penalty", [&] { inference.repetition_penalty(1); });
    throws("Inference::max_tokens", [&] { inference.max_tokens(1); });
    throws("Inference::threads", [&] { inference.threads(1); });
    throws("Inference::generate", [&] { inference.generate("token_7"); });
    throws("Inference::go_on", [&] { inference.go_on([](std::string_view) { return true; }); });
    throws("Inference::score", [&] { inference.score("token_7 token_8"); });
    throws("Inference::log_probs", [&] { inference.log_probs({7, 8}); });
    throws("Inference::next_tokens", [&] { inference.next_tokens({7, 8}, 3); });
    throws("Inference::next_words", [&] { inference.next_words("token_7", 3); });
    throws("Inference::embed", [&] { inference.embed("token_7"); });
    throws("Inference::allow_only", [&] { inference.allow_only({7}); });
    throws("Inference::state", [&] { inference.state(); });
    throws("Inference::restore", [&] { inference.restore({1}); });

    // Scores and suggestions.
    auto whole = other.score("token_7 token_8 token_9");
    auto each = other.log_probs({7, 8, 9});
    if (whole.tokens != 2 || whole.bytes != 23 || each.size() != 3 || each[0] != 0 ||
        std::abs(whole.nats + each[1] + each[2]) > 1e-6)
        failures++, std::cerr << "score: not the sum\n";
    if (model.evaluate_bytes({7, 8, 9}, 23, 16).tokens != 2) failures++, std::cerr << "evaluate_bytes\n";
    if (other.next_tokens({7, 8}, 1000).size() != 50) failures++, std::cerr << "next_tokens: not all\n";
    auto next = other.next_words("token_7 token_8", 3);
    if (next.size() != 3 || next[0].first.rfind(" token_", 0) != 0 || next[0].second < next[1].second)
        failures++, std::cerr << "next_words: not three\n";
    if (other.embed("token_7").size() != 8) failures++, std::cerr << "embed: not d values\n";
    other.allow_only({11, 12});
    other.max_tokens(1);
    std::string only = other.generate("token_7");
    if (only != " token_11" && only != " token_12") failures++, std::cerr << "allow_only: " << only << '\n';
    other.allow_all();
    other.max_tokens(50);

    CLLMTrainingConfig config{};
    config.learning_rate = 0.01f, config.batch_size = 2, config.sequence_length = 8;
    cllm::Training training(model, config, std::vector<std::uint32_t>(500, 1));
    cllm::Training moved = std::move(training);
    throws("Training::on_progress", [&] { training.on_progress({}); });
    throws("Training::epoch", [&] { training.epoch(); });
    throws("Training::steps", [&] { training.steps(1); });
    throws("Training::save", [&] { training.save("x"); });
    throws("Training::resume", [&] { training.resume("x"); });
    if (moved.steps(1) != 1) failures++, std::cerr << "Training: the new one does not train\n";

    // What callbacks throw comes back, and the objects go on.
    for (int round = 0; round < 2; round++) {
        try {
            other.stream("token_7", [](std::string_view) -> bool { throw std::logic_error("mine"); });
            failures++, std::cerr << "stream: the exception is lost\n";
        } catch (const std::logic_error &) {
        }
        moved.on_progress([](const CLLMProgress &) -> bool { throw std::logic_error("mine"); });
        try {
            moved.epoch(2);
            failures++, std::cerr << "epoch: the exception is lost\n";
        } catch (const std::logic_error &) {
        }
        moved.on_progress({});
    }
    if (other.generate("token_7").empty()) failures++, std::cerr << "generate: nothing\n";
    return failures != 0;
}
