// Text from a language model, token by token.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace thinwire::trainer {

class LanguageModel;
class Tokenizer;

struct GenerateOptions {
  double temperature = 1;  // divides the logits; 0: always the likeliest token
  std::int64_t top_k = 0;  // only the k likeliest tokens are drawn; 0: all
  std::int64_t max_tokens = 200;
  std::string stop;  // ends before this text; empty: at max_tokens
  std::uint64_t seed = 0;
};

// The text that follows the prompt, without it; the same for the same options and weights. An empty prompt
// stands for a line's start. The model sees the last `context` tokens; where its vocabulary was padded, only
// the tokenizer's tokens are drawn. Throws std::invalid_argument for a negative temperature, top_k or
// max_tokens, and if the tokenizer has tokens that the model has not.
std::string generate(LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                     const GenerateOptions& options);

}  // namespace thinwire::trainer
