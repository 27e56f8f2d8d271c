#include "launch/progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include "launch/quantity.h"

namespace thinwire::launch {

std::string format_progress(const trainer::Progress& progress) {
  return fmt::format("step {}/{}  loss {:.4f}  {} tokens/s  wire {}bit/s  left {}", progress.step,
                     progress.total_steps, progress.loss, short_number(progress.tokens_per_s),
                     short_number(progress.wire_bits_per_s), short_duration(progress.seconds_left));
}

ProgressLine::ProgressLine(std::FILE* out) : ProgressLine(out, ::isatty(::fileno(out)) == 1) {}

void ProgressLine::show(const trainer::Progress& progress) {
  const std::scoped_lock lock(mutex_);
  if (!terminal_) {
    fmt::print(out_, "{}\n", format_progress(progress));
  } else {
    clear_line();
    line_ = format_progress(progress);
    draw_line();
  }
  std::fflush(out_);
}

void ProgressLine::message(const std::string& text) {
  const std::scoped_lock lock(mutex_);
  clear_line();
  fmt::print(out_, "{}\n", text);
  draw_line();
  std::fflush(out_);
}

void ProgressLine::close() {
  const std::scoped_lock lock(mutex_);
  if (!line_.empty()) fmt::print(out_, "\n");
  line_.clear();
  std::fflush(out_);
}

void ProgressLine::clear_line() {
  if (!line_.empty()) fmt::print(out_, "\r\033[K");
}

void ProgressLine::draw_line() {
  fmt::print(out_, "{}", line_);
}

}  // namespace thinwire::launch
