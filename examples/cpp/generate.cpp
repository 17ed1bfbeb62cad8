// Continues a text, word by word, with objects that free themselves.
//
//     c++ -std=c++17 generate.cpp $(pkg-config --cflags --libs cllm) -o generate
//     ./generate model.cllm "once upon a"
#include <iostream>

#include "cllm.hpp"

int main(int argc, char **argv) {
    if (argc != 3) {
        std::cerr << "usage: " << argv[0] << " MODEL PROMPT\n";
        return 2;
    }
    cllm::log_nothing(); // exceptions tell what failed
    try {
        cllm::Model model = cllm::Model::read(argv[1]);
        cllm::Inference inference(model);
        inference.seed(42);
        inference.temperature(0.8f);
        inference.max_tokens(20);

        std::cout << argv[2];
        inference.stream(argv[2], [](std::string_view piece) {
            std::cout << piece << std::flush;
            return true; // false stops
        });
        std::cout << '\n';
    } catch (const cllm::Error &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
