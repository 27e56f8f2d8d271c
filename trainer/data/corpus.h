// Text as a run reads it: sources, what they are, and their split into training and held-out stretches.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/text.h"
#include "trainer/options/data_options.h"

namespace thinwire::trainer {

struct DataShard {
  int worker = 0;
  int workers = 1;
  std::uint64_t seed = 0;
};

// One entry of data.path.
struct Source {
  std::string path;
  std::shared_ptr<const SourceText> text;  // null: only other workers read it
  std::uint64_t bytes = 0;
  std::string hash;  // XXH3-128 of the text in hex; empty until it was read
};

// What this worker reads: all of data.path, or with data.shards = "by_source" its own sources alone, of which
// those of others may be missing here. Throws std::runtime_error that names the path that is missing,
// unreadable or has no text, or says that there are fewer sources than workers.
std::vector<Source> open_sources(const DataOptions& options, const DataShard& shard);
std::vector<Source> open_sources(const std::vector<std::string>& paths);

// Which files may be text. What is accepted and is no UTF-8 is warned of.
enum class AcceptedText {
  kUtf8,         // UTF-8 alone: of other bytes a tokenizer of characters makes one token each
  kAnyEncoding,  // also what may be text of an encoding of single bytes (Latin-1); nothing with NUL in it
  kAny,          // archives, pictures, UTF-16, ...: a run that has begun goes on with what it has
};
AcceptedText accepted_text(const DataOptions& options, bool has_begun);

// Reads every opened source once: sets its hash and looks at what its files are. Throws std::runtime_error
// that names the first file that is not accepted, what it is, and the offset of the byte that says so.
void read_sources(std::vector<Source>& sources, AcceptedText accepted, const TextWatch& watch);

// [begin, end) of a text.
struct Stretch {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool held_out = false;

  std::uint64_t size() const { return end - begin; }
  bool operator==(const Stretch&) const = default;
};

// Holds out `share` of the text in up to 64 evenly spaced stretches, so that a sorted corpus is represented.
// Stretches start and end at line borders where lines are shorter than 4 KiB, else between characters. A
// function of the text and the share alone; in the order of the text, without a gap. Throws
// std::invalid_argument unless 0 <= share < 1.
std::vector<Stretch> split_text(const Text& text, double share);

// Takes the next piece of about `bytes` off a text, which ends at a line border (the same rule); empty at the
// end. For work whose cost grows with length. Valid until the cursor is used again.
std::string_view take_piece(TextCursor& cursor, std::size_t bytes);

}  // namespace thinwire::trainer
