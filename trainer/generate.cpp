#include "trainer/generate.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "trainer/data/tokenizer.h"
#include "trainer/model/language_model.h"
#include "trainer/random.h"

namespace thinwire::trainer {
namespace {

void check(const GenerateOptions& options, const LanguageModel& model, const Tokenizer& tokenizer) {
  if (options.temperature < 0 || options.top_k < 0 || options.max_tokens < 0) {
    throw std::invalid_argument("generate: expected temperature, top_k and max_tokens of at least 0");
  }
  if (model.options().vocab < tokenizer.vocab_size()) {
    throw std::invalid_argument("generate: the tokenizer has " + std::to_string(tokenizer.vocab_size()) +
                                " tokens, the model only " + std::to_string(model.options().vocab) +
                                "; expected the tokenizer that it was trained with");
  }
}

// What a text starts after where the prompt has no token (it is empty, or spaces that the tokenizer strips):
// what most likely stands between two texts.
std::vector<std::int32_t> start_of_text(const Tokenizer& tokenizer) {
  for (const std::string_view text : {"\n", "."}) {
    std::vector<std::int32_t> tokens = tokenizer.encode(text);
    if (!tokens.empty()) return tokens;
  }
  return {0};
}

// Logits of the token that follows the history, of the first `tokens` tokens.
std::vector<float> next_logits(LanguageModel& model, const std::vector<std::int32_t>& history,
                               std::int64_t tokens) {
  const auto seen = std::min(history.size(), static_cast<std::size_t>(model.options().context));
  const std::vector<std::int64_t> window(history.end() - static_cast<std::ptrdiff_t>(seen), history.end());
  const at::Tensor logits = model.forward(at::tensor(window, at::kLong).unsqueeze(0))
                                .logits[0][-1]
                                .narrow(0, 0, tokens)
                                .contiguous();
  return {logits.data_ptr<float>(), logits.data_ptr<float>() + logits.numel()};
}

std::int32_t draw(const std::vector<float>& logits, const GenerateOptions& options, RandomStream& stream) {
  std::vector<std::int32_t> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  // Likeliest first; equal ones by token, so that the order is one.
  const bool greedy = options.temperature == 0;
  const auto all = static_cast<std::int64_t>(tokens.size());
  const std::int64_t kept = greedy ? 1 : options.top_k == 0 ? all : std::min(all, options.top_k);
  std::partial_sort(tokens.begin(), tokens.begin() + kept, tokens.end(), [&](std::int32_t a, std::int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  tokens.resize(static_cast<std::size_t>(kept));
  if (greedy) return tokens[0];

  std::vector<double> sums;  // of unnormalised probabilities
  double sum = 0;
  for (const std::int32_t token : tokens) {
    sum += std::exp((static_cast<double>(logits[token]) - logits[tokens[0]]) / options.temperature);
    sums.push_back(sum);
  }
  const auto chosen = std::upper_bound(sums.begin(), sums.end(), uniform(stream) * sum);
  return tokens[std::min(tokens.size() - 1, static_cast<std::size_t>(chosen - sums.begin()))];
}

}  // namespace

std::string generate(LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                     const GenerateOptions& options) {
  check(options, model, tokenizer);
  const at::NoGradGuard no_grad;
  const bool was_training = model.is_training();
  model.eval();
  RandomStream stream = random_stream(options.seed, "generate");
  std::vector<std::int32_t> history = tokenizer.encode(prompt);
  // Decoded with the prompt, which is cut off: the first space of a text by itself may be the tokenizer's
  // own.
  const std::size_t cut = tokenizer.decode(history).size();
  std::size_t begin = 0;
  if (history.empty()) {
    history = start_of_text(tokenizer);
    begin = history.size();
  }
  std::string text;
  for (std::int64_t i = 0; i < options.max_tokens; ++i) {
    history.push_back(draw(next_logits(model, history, tokenizer.vocab_size()), options, stream));
    // As a whole: a character may need several tokens.
    text = tokenizer.decode(std::span(history).subspan(begin)).substr(cut);
    const std::size_t stop = options.stop.empty() ? std::string::npos : text.find(options.stop);
    if (stop != std::string::npos) {
      text.resize(stop);
      break;
    }
  }
  model.train(was_training);
  return text;
}

}  // namespace thinwire::trainer
