#include "trainer/data/bpe_trainer.h"

#include <sentencepiece_trainer.h>
#include <xxhash.h>

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>
#include <unordered_set>
#include <utility>

#include "trainer/data/utf8.h"

namespace thinwire::trainer {
namespace {

constexpr std::size_t kMaxSentenceBytes = 4096;
constexpr std::int64_t kMetaPieces = 1 + 256;  // the unknown piece, and one for each byte

// The next line, without its end; a part of one that is long. Empty at the end. Valid until the next call.
std::string_view take_line(TextCursor& cursor) {
  while (cursor.left() > 0) {
    const std::string_view ahead = cursor.peek(kMaxSentenceBytes + kMaxCharacterBytes);
    const std::size_t newline = ahead.find('\n');
    const std::string_view line = ahead.substr(0, newline);
    if (line.size() > kMaxSentenceBytes) {
      const std::size_t end = character_start(line, kMaxSentenceBytes);
      cursor.skip(end);
      return line.substr(0, end);
    }
    cursor.skip(line.size() + (newline == std::string_view::npos ? 0 : 1));
    if (!line.empty()) return line;
  }
  return {};
}

// Every n-th line of the texts.
class SampledLines {
 public:
  SampledLines(const std::vector<TrainingText>& texts, std::size_t stride) : texts_(texts), stride_(stride) {}

  // Empty at the end. Valid until the next call.
  std::string_view next() {
    std::string_view line = next_line();
    for (std::size_t passed = 1; passed < stride_ && !first_ && !line.empty(); ++passed) line = next_line();
    first_ = false;
    return line;
  }

 private:
  std::string_view next_line() {
    for (;;) {
      if (cursor_) {
        if (const std::string_view line = take_line(*cursor_); !line.empty()) return line;
      }
      if (text_ == texts_.size()) return {};
      if (stretch_ == texts_[text_].stretches.size()) {
        ++text_;
        stretch_ = 0;
        continue;
      }
      const Stretch& stretch = texts_[text_].stretches[stretch_++];
      cursor_.emplace(*texts_[text_].text, stretch.begin, stretch.end);
    }
  }

  const std::vector<TrainingText>& texts_;
  std::size_t stride_;
  bool first_ = true;
  std::size_t text_ = 0, stretch_ = 0;  // that come next
  std::optional<TextCursor> cursor_;
};

// SentencePiece keeps U+2581 for spaces and U+2585 for what it does not know, and takes a tab for a border.
bool can_be_piece(std::string_view character) {
  return !character.empty() && character != std::string_view("\0", 1) && character != "\t" &&
         character != "\xe2\x96\x81" && character != "\xe2\x96\x85";
}

// Calls use(character) for each character of a line; with an empty one for a byte that is none.
template <typename Use>
void for_each_character(std::string_view line, Use&& use) {
  while (!line.empty()) {
    const std::size_t length = character_bytes(line);
    use(line.substr(0, length));
    line.remove_prefix(std::max<std::size_t>(1, length));
  }
}

// Characters that may become pieces.
using Alphabet = std::unordered_set<std::string>;

// Lines as SentencePiece asks for them; with an alphabet they are parted where a character is not in it.
class Sentences final : public sentencepiece::SentenceIterator {
 public:
  Sentences(const std::vector<TrainingText>& texts, std::size_t stride, const Alphabet* alphabet)
      : lines_(texts, stride), alphabet_(alphabet) {
    Next();
  }
  bool done() const override { return value_.empty(); }
  void Next() override {
    value_.clear();
    for (std::string_view line; parts_.empty() && !(line = lines_.next()).empty();) part(line);
    if (parts_.empty()) return;
    value_ = std::move(parts_.back());
    parts_.pop_back();
  }
  const std::string& value() const override { return value_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void part(std::string_view line) {
    if (alphabet_ == nullptr) {
      parts_.emplace_back(line);
      return;
    }
    std::string word;
    const auto close = [&] {
      if (!word.empty()) parts_.push_back(std::exchange(word, {}));
    };
    for_each_character(line, [&](std::string_view character) {
      if (alphabet_->contains(std::string(character))) {
        word += character;
      } else {
        close();
      }
    });
    close();
  }

  SampledLines lines_;
  const Alphabet* alphabet_;
  std::vector<std::string> parts_;
  std::string value_;
};

std::optional<std::string> train(const std::vector<TrainingText>& texts, std::size_t stride,
                                 std::int64_t vocab_size, const Alphabet* alphabet) {
  Sentences sentences(texts, stride, alphabet);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      {{"model_type", "bpe"},
       {"vocab_size", std::to_string(vocab_size)},
       {"hard_vocab_limit", "false"},
       {"byte_fallback", "true"},
       {"character_coverage", "0.9995"},
       {"normalization_rule_name", "identity"},
       {"add_dummy_prefix", "false"},
       {"remove_extra_whitespaces", "false"},
       {"allow_whitespace_only_pieces", "true"},
       {"max_sentence_length", std::to_string(2 * kMaxSentenceBytes)},
       {"bos_id", "-1"},
       {"eos_id", "-1"},
       {"num_threads", "1"},
       {"minloglevel", "3"}},
      &sentences, &model);
  if (!status.ok()) return std::nullopt;
  return model;
}

// True if the different words of the sample have more than kMaxWordCharacters.
bool has_many_words(const std::vector<TrainingText>& texts, std::size_t stride) {
  std::unordered_set<std::uint64_t> words;
  std::size_t characters = 0;
  SampledLines lines(texts, stride);
  for (std::string_view line; !(line = lines.next()).empty();) {
    while (!line.empty()) {
      const std::string_view word = line.substr(0, line.find(' ', 1));
      line.remove_prefix(word.size());
      if (!words.insert(XXH3_64bits(word.data(), word.size())).second) continue;
      characters += static_cast<std::size_t>(std::count_if(
          word.begin(), word.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
      if (characters > kMaxWordCharacters) return true;
    }
  }
  return false;
}

std::size_t choose_stride(const std::vector<TrainingText>& texts) {
  std::uint64_t bytes = 0;
  for (const TrainingText& text : texts) {
    for (const Stretch& stretch : text.stretches) bytes += stretch.size();
  }
  auto stride = static_cast<std::size_t>(bytes / kMaxTrainingBytes + 1);
  while (stride > 1 && has_many_words(texts, stride)) stride *= 2;
  return stride;
}

// How often each character that may be a piece stands in the sample, the frequent ones first.
std::vector<std::pair<std::string, std::uint64_t>> count_characters(const std::vector<TrainingText>& texts,
                                                                    std::size_t stride) {
  std::map<std::string, std::uint64_t, std::less<>> counts;
  SampledLines lines(texts, stride);
  for (std::string_view line; !(line = lines.next()).empty();) {
    for_each_character(line, [&](std::string_view character) {
      if (!can_be_piece(character)) return;
      const auto found = counts.find(character);
      ++(found != counts.end() ? found : counts.emplace(character, 0).first)->second;
    });
  }
  std::vector<std::pair<std::string, std::uint64_t>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  return sorted;
}

// With the most frequent characters only, as many as the vocabulary has room for.
std::string train_with_fewer_characters(const std::vector<TrainingText>& texts, std::size_t stride,
                                        std::int64_t vocab_size, const TextWatch& watch) {
  const std::int64_t room = vocab_size - kMetaPieces;
  if (room < 1) {
    throw std::runtime_error("data.vocab_size: expected at least " + std::to_string(kMetaPieces + 1) +
                             " (256 bytes, a piece for what is unknown, and a character), found " +
                             std::to_string(vocab_size));
  }
  const auto counts = count_characters(texts, stride);
  if (counts.empty()) {
    throw std::runtime_error(
        "data.tokenizer = \"bpe\": data.path has no line with a character that pieces could be made of; put "
        "text there, or set data.tokenizer to \"bytes\"");
  }
  const auto kept = std::min(counts.size(), static_cast<std::size_t>(room));
  Alphabet alphabet;
  std::uint64_t covered = 0, all = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    all += counts[i].second;
    if (i >= kept) continue;
    covered += counts[i].second;
    alphabet.insert(counts[i].first);
  }
  const std::optional<std::string> model = train(texts, stride, vocab_size, &alphabet);
  if (!model) {
    throw std::runtime_error("no bpe of data.vocab_size = " + std::to_string(vocab_size) +
                             " can be made of this text; give data.tokenizer \"bytes\" or a model file");
  }
  if (kept < counts.size()) {
    char share[16];
    std::snprintf(share, sizeof share, "%.2g",
                  100 * (1 - static_cast<double>(covered) / static_cast<double>(all)));
    watch.warn("data.vocab_size = " + std::to_string(vocab_size) + " has no room for all " +
               std::to_string(counts.size()) + " characters of this text: the rarest, " + share +
               " % of the text, go as bytes; data.vocab_size = " +
               std::to_string(kMetaPieces + static_cast<std::int64_t>(counts.size())) + " has room for all");
  }
  return *model;
}

}  // namespace

std::string train_bpe(const std::vector<TrainingText>& texts, std::int64_t vocab_size,
                      const TextWatch& watch) {
  const std::size_t stride = choose_stride(texts);
  if (auto model = train(texts, stride, vocab_size, nullptr)) return *std::move(model);
  return train_with_fewer_characters(texts, stride, vocab_size, watch);
}

}  // namespace thinwire::trainer
