#include "trainer/data/corpus.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "trainer/data/text_kind.h"
#include "trainer/data/utf8.h"

namespace thinwire::trainer {
namespace {

constexpr std::size_t kLineReach = 4096;  // longest way from a wanted border to the end of its line
constexpr std::size_t kCharacterReach = kMaxCharacterBytes - 1;
constexpr double kStretchBytes = 4096;  // wanted size of a held-out stretch, until there are kMaxStretches
constexpr double kMaxStretches = 64;
constexpr std::size_t kReadBytes = 1 << 20;
constexpr std::size_t kMaxWarnings = 3;  // of a run's text; a folder may have thousands of such files

// The first line start at or after `position`; if that is further than `reach`, the first character start.
// `text` may be a part that ends kCharacterReach past position + reach.
std::size_t border(std::string_view text, std::size_t position, std::size_t reach) {
  if (position == 0 || position >= text.size()) return std::min(position, text.size());
  const std::size_t newline = text.substr(0, position + reach).find('\n', position - 1);
  if (newline != std::string_view::npos) return newline + 1;
  return character_start(text, position);
}

std::uint64_t border(const Text& text, std::uint64_t position, std::size_t reach) {
  if (position == 0 || position >= text.size()) return std::min(position, text.size());
  std::string around(
      static_cast<std::size_t>(std::min<std::uint64_t>(text.size() - position, reach + kCharacterReach)) + 1,
      '\0');
  text.read(position - 1, around.data(), around.size());
  return position - 1 + border(around, 1, reach);
}

std::vector<Stretch> split_with_reach(const Text& text, double share, std::size_t reach) {
  std::vector<Stretch> stretches;
  const auto size = static_cast<double>(text.size());
  const double count = std::clamp(std::floor(share * size / kStretchBytes), 1.0, kMaxStretches);
  std::uint64_t cursor = 0;
  const auto advance = [&](double wanted, bool held_out) {
    const std::uint64_t end = std::max(cursor, border(text, static_cast<std::uint64_t>(wanted), reach));
    if (end > cursor) stretches.push_back({cursor, end, held_out});
    cursor = end;
  };
  for (double i = 0; i < count; ++i) {
    const double period = size / count;
    advance((i + 0.5 - 0.5 * share) * period, false);
    advance((i + 0.5 + 0.5 * share) * period, true);
  }
  advance(size, false);
  return stretches;
}

// Says what is wrong with the files of sources, the first of them one by one.
class Findings {
 public:
  Findings(AcceptedText accepted, const TextWatch& watch) : accepted_(accepted), watch_(watch) {}

  void add_binary(const std::string& path, std::string_view format) {
    const std::string what = "is " + std::string(format) + ", not text";
    if (accepted_ != AcceptedText::kAny) {
      refuse(path, what +
                       "; move it out of data.path or start its name with a dot, or put the text that it "
                       "holds there instead");
    }
    warn(path, what);
  }
  void add(const std::string& path, const TextKind& kind) {
    if (!kind.may_be_text() && accepted_ != AcceptedText::kAny) refuse(path, kind.problem());
    if (accepted_ == AcceptedText::kUtf8) {
      refuse(path, kind.problem() + "; as it is, data.tokenizer = \"bytes\" can learn from it");
    }
    warn(path, kind.problem() + "; it is learned as bytes");
  }
  void close() const {
    if (count_ > kMaxWarnings) {
      watch_.warn("[data] " + std::to_string(count_ - kMaxWarnings) + " more files are not UTF-8 text");
    }
  }

 private:
  [[noreturn]] static void refuse(const std::string& path, const std::string& what) {
    throw std::runtime_error("[data] '" + path + "' " + what);
  }
  void warn(const std::string& path, const std::string& what) {
    if (++count_ <= kMaxWarnings) watch_.warn("[data] '" + path + "' " + what);
  }

  AcceptedText accepted_;
  const TextWatch& watch_;
  std::size_t count_ = 0;
};

std::string hash_of(const SourceText& text, Findings& findings, const TextWatch& watch) {
  RunningHash hash;
  for (const TextFile& file : text.files()) {
    TextCursor cursor(text, file.begin, file.begin + file.bytes);
    const std::string_view format = binary_format(cursor.peek(kReadBytes));
    if (!format.empty()) findings.add_binary(file.path, format);
    TextKind kind;
    for (std::string_view piece; !(piece = cursor.peek(kReadBytes)).empty(); cursor.skip(piece.size())) {
      watch.check_stop();
      hash.add(piece.data(), piece.size());
      kind.add(piece);
    }
    if (format.empty() && !kind.problem().empty()) findings.add(file.path, kind);
    if (file.gets_newline) hash.add("\n", 1);
  }
  return hash.hex();
}

Source open_source(const std::string& path) {
  const auto text = std::make_shared<SourceText>(path);
  return {path, text, text->size(), {}};
}

}  // namespace

std::vector<Source> open_sources(const std::vector<std::string>& paths) {
  if (paths.empty()) throw std::runtime_error("[data] expected files or folders in data.path, found none");
  std::vector<Source> sources;
  for (const std::string& path : paths) sources.push_back(open_source(path));
  return sources;
}

std::vector<Source> open_sources(const DataOptions& options, const DataShard& shard) {
  if (options.shards == "even") return open_sources(options.path);
  if (options.shards != "by_source") {
    throw std::invalid_argument("data.shards: expected even or by_source, found '" + options.shards + "'");
  }
  const auto workers = static_cast<std::size_t>(shard.workers);
  if (options.path.size() < workers) {
    throw std::runtime_error("data.shards = \"by_source\": expected a source for each of " +
                             std::to_string(workers) + " workers, found " +
                             std::to_string(options.path.size()) +
                             " in data.path; name more sources or start fewer workers");
  }
  std::vector<Source> sources;
  for (std::size_t s = 0; s < options.path.size(); ++s) {
    const bool mine = s % workers == static_cast<std::size_t>(shard.worker);
    sources.push_back(mine ? open_source(options.path[s]) : Source{options.path[s], nullptr, 0, {}});
  }
  return sources;
}

AcceptedText accepted_text(const DataOptions& options, bool has_begun) {
  if (has_begun) return AcceptedText::kAny;
  return options.tokenizer == "bytes" ? AcceptedText::kAnyEncoding : AcceptedText::kUtf8;
}

void read_sources(std::vector<Source>& sources, AcceptedText accepted, const TextWatch& watch) {
  std::uint64_t bytes = 0;
  for (const Source& source : sources) bytes += source.bytes;
  if (bytes >= kLongTextBytes) watch.notice("reading data.path, " + text_size(bytes) + " of text");
  Findings findings(accepted, watch);
  for (Source& source : sources) {
    if (source.text != nullptr) source.hash = hash_of(*source.text, findings, watch);
  }
  findings.close();
}

std::vector<Stretch> split_text(const Text& text, double share) {
  if (!(share >= 0 && share < 1)) {
    throw std::invalid_argument("data.held_out: expected a share in [0, 1), found " + std::to_string(share));
  }
  if (share == 0) return {{0, text.size(), false}};
  std::vector<Stretch> split = split_with_reach(text, share, kLineReach);
  const auto held_out =
      std::count_if(split.begin(), split.end(), [](const Stretch& s) { return s.held_out; });
  if (held_out == 0 || held_out == std::ssize(split)) split = split_with_reach(text, share, 0);
  return split;
}

std::string_view take_piece(TextCursor& cursor, std::size_t bytes) {
  const std::string_view ahead = cursor.peek(bytes + kLineReach + kCharacterReach + 1);
  if (ahead.empty()) return {};
  const std::string_view piece = ahead.substr(0, std::max<std::size_t>(1, border(ahead, bytes, kLineReach)));
  cursor.skip(piece.size());
  return piece;
}

}  // namespace thinwire::trainer
