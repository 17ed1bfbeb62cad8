// Trains on a text in memory, watches the loss, keeps a checkpoint, reads the model back.
//
//     c++ -std=c++17 train.cpp $(pkg-config --cflags --libs cllm) -o train
//     ./train model.cllm
#include <cstring>
#include <iostream>
#include <string>

#include "cllm.hpp"

int main(int argc, char **argv) {
    if (argc != 2) {
        std::cerr << "usage: " << argv[0] << " MODEL\n";
        return 2;
    }
    const std::string path = argv[1];
    const std::string text = [] {
        std::string all;
        for (int i = 0; i < 10; i++) all += "one two three four five six seven eight nine ten . ";
        return all;
    }();
    cllm::log_nothing();
    try {
        const auto tokenizer = cllm::Tokenizer::train(text, 300); // subwords
        const auto ids = tokenizer.tokens(text);

        CLLMConfig sizes{};
        sizes.vocab_size = tokenizer.size();
        sizes.embedding_dim = 32;
        sizes.num_layers = 1;
        sizes.num_heads = 2;
        sizes.ff_dim = 64;
        sizes.max_seq_len = 16;
        std::srand(1);
        cllm::Model model(sizes);
        model.set_vocab(tokenizer);

        CLLMTrainingConfig config{};
        config.learning_rate = 0.01f;
        config.batch_size = 2;
        config.sequence_length = 8;
        std::strcpy(config.optimizer, "adamw");
        cllm::Training training(model, config, ids);
        int batches = 0;
        training.on_progress([&](const CLLMProgress &) {
            batches++;
            return true;
        });
        float loss = 0;
        for (int epoch = 0; epoch < 40; epoch++) loss = training.epoch();
        std::cout << batches << " batches, " << training.get()->current_epoch << " epochs, loss " << loss
                  << '\n';
        training.save(path + ".checkpoint");
        training.resume(path + ".checkpoint");
        model.write(path);

        cllm::Inference inference(cllm::Model::read(path)); // keeps its model alive
        inference.greedy();
        inference.max_tokens(10);
        std::cout << "one two" << inference.generate("one two");
        auto state = inference.state();
        std::string rest;
        inference.go_on([&](std::string_view piece) { rest += piece; return true; });
        inference.restore(state);
        std::string again;
        inference.go_on([&](std::string_view piece) { again += piece; return true; });
        std::cout << rest << '\n';
        if (rest != again) return 1;

        double perplexity = model.evaluate(ids, 8).perplexity;
        std::cout << "perplexity " << perplexity << '\n';

        try { // what a callback throws arrives here, not in the C library
            inference.stream("one", [](std::string_view) -> bool { throw std::string("enough"); });
            return 1;
        } catch (const std::string &thrown) {
            std::cout << "thrown in a callback: " << thrown << '\n';
        }
    } catch (const cllm::Error &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
