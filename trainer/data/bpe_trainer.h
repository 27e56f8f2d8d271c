// Learns a byte-pair model from text with SentencePiece's trainer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "trainer/data/corpus.h"

namespace thinwire::trainer {

// The parts of a text that a tokenizer may learn from.
struct TrainingText {
  std::shared_ptr<const Text> text;
  std::vector<Stretch> stretches;
};

// Of longer texts every n-th line counts, with n so large that what is learned from stays below this, and its
// different words below kMaxWordCharacters: SentencePiece needs up to 150 bytes for each of those.
inline constexpr std::size_t kMaxTrainingBytes = 32 << 20;
inline constexpr std::size_t kMaxWordCharacters = 1 << 20;

// Byte pieces for what is rare, no normalisation, no begin or end piece, one thread, so that the same texts
// give the same model. Lines do not share pieces; a newline is a byte piece. The vocabulary may come out
// smaller than asked for if the texts have too few pairs. Where it has no room for all characters of the
// texts the rarest go as bytes, which is warned of. Returns the serialised model. Throws std::runtime_error
// if vocab_size has no room for the bytes and one character, or if the texts have no line to learn from.
std::string train_bpe(const std::vector<TrainingText>& texts, std::int64_t vocab_size,
                      const TextWatch& watch = {});

}  // namespace thinwire::trainer
