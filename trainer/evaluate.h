// How well a model predicts text.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/data/corpus.h"
#include "trainer/data/evaluation_text.h"

namespace thinwire::trainer {

class LanguageModel;
class Tokenizer;

// The whole of every source, which was opened and read, in windows of at most `length` tokens; each token but
// a source's first is a target once. The tokens stand in a temporary file. Throws std::runtime_error if no
// source has two tokens.
EvaluationText whole_text(const std::vector<Source>& sources, const Tokenizer& tokenizer, std::int64_t length,
                          const TextWatch& watch = {});

struct Evaluation {
  std::int64_t tokens = 0;   // targets
  double loss = 0;           // nats per token, mean over all targets
  double perplexity = 0;     // e^loss
  double bits_per_byte = 0;  // loss / (ln 2 * bytes per token)
};

// What one worker found on its EvaluationText.
struct Tally {
  std::vector<std::size_t> groups;  // as the text's
  std::vector<double> sums;         // of a batch's losses, by batch
  std::int64_t targets = 0;
  std::uint64_t tokens = 0, bytes = 0;  // as the text's
};

// Of all workers' tallies, by rank: the sums are added in the order that the groups give, so that the figure
// does not depend on who evaluated what.
Evaluation evaluation_of(const std::vector<Tally>& by_rank);

// All of a text by one model; the same bits as a run's own evaluation of it.
Evaluation evaluate(LanguageModel& model, const EvaluationText& text);

}  // namespace thinwire::trainer
