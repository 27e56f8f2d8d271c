// How well a model predicts text.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/data/corpus.h"
#include "trainer/data/tokenizer.h"
#include "trainer/model/language_model.h"
#include "trainer/task/task.h"

namespace thinwire::trainer {

// Batches and what is needed to turn nats per token into bits per byte.
struct EvaluationText {
  std::vector<Batch> batches;
  double bytes_per_token = 0;
};

// The whole of every source in windows of at most `length` tokens; each token but a source's first is a
// target once. Throws std::runtime_error if no source has two tokens.
EvaluationText whole_text(const std::vector<Source>& sources, const Tokenizer& tokenizer,
                          std::int64_t length);

struct Evaluation {
  std::int64_t tokens = 0;   // targets
  double loss = 0;           // nats per token, mean over all targets
  double perplexity = 0;     // e^loss
  double bits_per_byte = 0;  // loss / (ln 2 * bytes per token)
};

// sum: of all targets' losses, nats.
Evaluation evaluation_of(double sum, std::int64_t tokens, double bytes_per_token);

// The sums of the batches are added in their order, so that a run's own evaluation gives the same bits.
Evaluation evaluate(LanguageModel& model, const EvaluationText& text);

}  // namespace thinwire::trainer
