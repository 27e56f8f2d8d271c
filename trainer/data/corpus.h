// Text as a run reads it: sources, and their split into training and held-out stretches.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace thinwire::trainer {

// One entry of data.path: a file, or a folder's files in the order of their paths, each ended by a newline.
// Files and folders whose names start with a dot are left out.
struct Source {
  std::string path;
  std::string text;
};

// Throws std::runtime_error that names the path that is missing, unreadable or has no text.
std::vector<Source> read_sources(const std::vector<std::string>& paths);

// Views into the text, in its order; together they are the text.
struct TextSplit {
  std::vector<std::string_view> train;
  std::vector<std::string_view> held_out;
};

// Holds out `share` of the text in up to 64 evenly spaced stretches, so that a sorted corpus is represented.
// Stretches start and end at line borders where lines are shorter than 4 KiB, else between characters. A
// function of the text and the share alone. Throws std::invalid_argument unless 0 <= share < 1.
TextSplit split_text(std::string_view text, double share);

// Cuts text into pieces of about `bytes` at line borders (the same rule), for work whose cost grows with
// length.
std::vector<std::string_view> cut_at_lines(std::string_view text, std::size_t bytes);

}  // namespace thinwire::trainer
