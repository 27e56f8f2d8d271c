#include "trainer/evaluate.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace thinwire::trainer {
namespace {

constexpr std::int64_t kWindowsPerBatch = 16;

// `count` windows of `length` tokens that follow each other.
Batch windows(const std::vector<std::int32_t>& tokens, std::int64_t begin, std::int64_t count,
              std::int64_t length) {
  Batch batch{at::empty({count, length}, at::kLong), at::empty({count, length}, at::kLong)};
  const auto first = tokens.begin() + begin;
  std::copy(first, first + count * length, batch.tokens.data_ptr<std::int64_t>());
  std::copy(first + 1, first + count * length + 1, batch.targets.data_ptr<std::int64_t>());
  return batch;
}

void add_windows(const std::vector<std::int32_t>& tokens, std::int64_t length, std::vector<Batch>& batches) {
  const auto targets = static_cast<std::int64_t>(tokens.size()) - 1;
  std::int64_t begin = 0;
  while (targets - begin >= length) {
    const std::int64_t count = std::min(kWindowsPerBatch, (targets - begin) / length);
    batches.push_back(windows(tokens, begin, count, length));
    begin += count * length;
  }
  if (begin < targets) batches.push_back(windows(tokens, begin, 1, targets - begin));
}

}  // namespace

EvaluationText whole_text(const std::vector<Source>& sources, const Tokenizer& tokenizer,
                          std::int64_t length) {
  EvaluationText text;
  std::size_t num_bytes = 0, num_tokens = 0;
  for (const Source& source : sources) {
    const std::vector<std::int32_t> tokens = tokenizer.encode(source.text);
    add_windows(tokens, length, text.batches);
    num_bytes += source.text.size();
    num_tokens += tokens.size();
  }
  if (text.batches.empty())
    throw std::runtime_error("evaluation needs a source of at least two tokens, found none");
  text.bytes_per_token = static_cast<double>(num_bytes) / static_cast<double>(num_tokens);
  return text;
}

Evaluation evaluation_of(double sum, std::int64_t tokens, double bytes_per_token) {
  const double loss = sum / static_cast<double>(tokens);
  return {.tokens = tokens,
          .loss = loss,
          .perplexity = std::exp(loss),
          .bits_per_byte = loss / (std::log(2.0) * bytes_per_token)};
}

Evaluation evaluate(LanguageModel& model, const EvaluationText& text) {
  const torch::NoGradGuard no_grad;
  double sum = 0;
  std::int64_t tokens = 0;
  for (const Batch& batch : text.batches) {
    const at::Tensor logits = model.forward(batch.tokens).logits.flatten(0, -2).to(at::kFloat);
    sum += at::cross_entropy_loss(logits, batch.targets.flatten(), {}, at::Reduction::Sum).item<double>();
    tokens += batch.targets.numel();
  }
  return evaluation_of(sum, tokens, text.bytes_per_token);
}

}  // namespace thinwire::trainer
