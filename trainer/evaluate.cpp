#include "trainer/evaluate.h"

#include <ATen/core/Reduction.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>

#include <cmath>
#include <stdexcept>

#include "trainer/data/token_cache.h"
#include "trainer/data/tokenizer.h"
#include "trainer/model/language_model.h"

namespace thinwire::trainer {
namespace {

constexpr std::int64_t kWindowsPerBatch = 16;

Evaluation evaluation_of(double sum, std::int64_t targets, double bytes_per_token) {
  const double loss = sum / static_cast<double>(targets);
  return {.tokens = targets,
          .loss = loss,
          .perplexity = std::exp(loss),
          .bits_per_byte = loss / (std::log(2.0) * bytes_per_token)};
}

double bytes_per_token(std::uint64_t bytes, std::uint64_t tokens) {
  return tokens == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(tokens);
}

}  // namespace

EvaluationText whole_text(const std::vector<Source>& sources, const Tokenizer& tokenizer, std::int64_t length,
                          const TextWatch& watch) {
  const TokenizedCorpus corpus = tokenize_cached(sources, tokenizer, /*held_out=*/0, /*cache_dir=*/"", watch);
  EvaluationText text;
  std::vector<StreamBatches> batches;
  for (std::size_t s = 0; s < sources.size(); ++s) {
    batches.emplace_back(corpus.train[s], length, kWindowsPerBatch);
    text.groups.push_back(batches.back().size());
    text.size += batches.back().size();
    text.tokens += corpus.train[s].size();
    text.bytes += sources[s].bytes;
  }
  if (text.size == 0)
    throw std::runtime_error("evaluation needs a source of at least two tokens, found none");
  text.batch = [batches](std::size_t i) { return batch_of(batches, i); };
  return text;
}

Evaluation evaluation_of(const std::vector<Tally>& by_rank) {
  struct Place {
    std::size_t group = 0, batch = 0;  // the next ones
  };
  std::vector<Place> places(by_rank.size());
  double sum = 0;
  for (bool more = true; more;) {
    more = false;
    for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
      const Tally& tally = by_rank[rank];
      Place& next = places[rank];
      if (next.group == tally.groups.size()) continue;
      const std::size_t end = next.batch + tally.groups[next.group++];
      for (; next.batch < end; ++next.batch) sum += tally.sums.at(next.batch);
      more = true;
    }
  }
  std::int64_t targets = 0;
  std::uint64_t tokens = 0, bytes = 0;
  for (const Tally& tally : by_rank) {
    targets += tally.targets;
    tokens += tally.tokens;
    bytes += tally.bytes;
  }
  return evaluation_of(sum, targets, bytes_per_token(bytes, tokens));
}

Evaluation evaluate(LanguageModel& model, const EvaluationText& text) {
  const at::NoGradGuard no_grad;
  double sum = 0;
  std::int64_t targets = 0;
  for (std::size_t i = 0; i < text.size; ++i) {
    const Batch batch = text.batch(i);
    const at::Tensor logits = model.forward(batch.tokens).logits.flatten(0, -2).to(at::kFloat);
    sum += at::cross_entropy_loss(logits, batch.targets.flatten(), {}, at::Reduction::Sum).item<double>();
    targets += batch.targets.numel();
  }
  return evaluation_of(sum, targets, bytes_per_token(text.bytes, text.tokens));
}

}  // namespace thinwire::trainer
