#include "launch/progress_line.h"

#include <fmt/format.h>

#include "launch/quantity.h"

namespace thinwire::launch {
namespace {

constexpr const char* kClearLine = "\r\033[K";

}  // namespace

std::string format_progress(const trainer::Progress& progress) {
  return fmt::format("step {}/{}  loss {:.4f}  {} tokens/s  wire {}bit/s  left {}", progress.step,
                     progress.total_steps, progress.loss, short_number(progress.tokens_per_s),
                     short_number(progress.wire_bits_per_s), short_duration(progress.seconds_left));
}

void ProgressLine::show(const trainer::Progress& progress) {
  const std::scoped_lock lock(mutex_);
  const std::string text = format_progress(progress);
  if (!terminal_) {
    out_.write(text + "\n", LineWriter::Kind::kPassing);
  } else if (out_.write((line_.empty() ? "" : kClearLine) + text, LineWriter::Kind::kPassing)) {
    line_ = text;
  }
}

void ProgressLine::message(const std::string& text) {
  const std::scoped_lock lock(mutex_);
  out_.write((line_.empty() ? "" : kClearLine) + text + "\n" + line_, LineWriter::Kind::kKept);
}

void ProgressLine::close() {
  const std::scoped_lock lock(mutex_);
  if (!line_.empty()) out_.write("\n", LineWriter::Kind::kKept);
  line_.clear();
}

}  // namespace thinwire::launch
