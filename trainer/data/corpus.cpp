#include "trainer/data/corpus.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLineReach = 4096;  // longest way from a wanted border to the end of its line
constexpr double kStretchBytes = 4096;    // wanted size of a held-out stretch, until there are kMaxStretches
constexpr double kMaxStretches = 64;

bool hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::recursive_directory_iterator(); ++it) {
    if (hidden(it->path())) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file()) {
      files.push_back(it->path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

void append_file(const fs::path& path, std::string& text) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("[data] cannot read '" + path.string() + "': " + std::strerror(errno));
  const std::size_t start = text.size();
  text.resize(start + fs::file_size(path));
  file.read(text.data() + start, static_cast<std::streamsize>(text.size() - start));
  text.resize(start + static_cast<std::size_t>(file.gcount()));
}

Source read_source(const std::string& path) {
  Source source{path, {}};
  if (!fs::exists(path)) {
    throw std::runtime_error("[data] expected a file or folder at '" + path +
                             "', found nothing; check data.path");
  }
  if (!fs::is_directory(path)) {
    append_file(path, source.text);
  } else {
    for (const fs::path& file : files_of(path)) {
      append_file(file, source.text);
      if (!source.text.empty() && source.text.back() != '\n') source.text += '\n';
    }
  }
  if (source.text.empty()) throw std::runtime_error("[data] '" + path + "' has no text; check data.path");
  return source;
}

// The first line start at or after `position`; if that is further than `reach`, the first character start.
std::size_t border(std::string_view text, std::size_t position, std::size_t reach) {
  if (position == 0 || position >= text.size()) return std::min(position, text.size());
  const std::size_t newline = text.substr(0, position + reach).find('\n', position - 1);
  if (newline != std::string_view::npos) return newline + 1;
  const auto continues = [&](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
  };
  for (int step = 0; step < 3 && position < text.size() && continues(position); ++step) ++position;
  return position;
}

TextSplit split_with_reach(std::string_view text, double share, std::size_t reach) {
  TextSplit split;
  const double size = static_cast<double>(text.size());
  const double stretches = std::clamp(std::floor(share * size / kStretchBytes), 1.0, kMaxStretches);
  std::size_t cursor = 0;
  const auto advance = [&](double wanted, std::vector<std::string_view>& part) {
    const std::size_t end = std::max(cursor, border(text, static_cast<std::size_t>(wanted), reach));
    if (end > cursor) part.push_back(text.substr(cursor, end - cursor));
    cursor = end;
  };
  for (double i = 0; i < stretches; ++i) {
    const double period = size / stretches;
    advance((i + 0.5 - 0.5 * share) * period, split.train);
    advance((i + 0.5 + 0.5 * share) * period, split.held_out);
  }
  advance(size, split.train);
  return split;
}

}  // namespace

std::vector<Source> read_sources(const std::vector<std::string>& paths) {
  if (paths.empty()) throw std::runtime_error("[data] expected files or folders in data.path, found none");
  std::vector<Source> sources;
  for (const std::string& path : paths) sources.push_back(read_source(path));
  return sources;
}

TextSplit split_text(std::string_view text, double share) {
  if (!(share >= 0 && share < 1)) {
    throw std::invalid_argument("data.held_out: expected a share in [0, 1), found " + std::to_string(share));
  }
  if (share == 0) return {{text}, {}};
  TextSplit split = split_with_reach(text, share, kLineReach);
  // A short text of long lines may have no line to hold out, or none to train on.
  if (split.held_out.empty() || split.train.empty()) split = split_with_reach(text, share, 0);
  return split;
}

std::vector<std::string_view> cut_at_lines(std::string_view text, std::size_t bytes) {
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    const std::size_t end = std::max<std::size_t>(1, border(text, bytes, kLineReach));
    pieces.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return pieces;
}

}  // namespace thinwire::trainer
