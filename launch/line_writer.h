// Lines to a descriptor whose reader may pause (a pager, Ctrl-S, a stopped launcher) or go away: a thread of
// its own writes them, so that nobody who trains, exchanges or watches waits for a reader.
#pragma once

#include <chrono>
#include <memory>
#include <string>

namespace thinwire::launch {

// Thread safety: all members, from any thread.
class LineWriter {
 public:
  enum class Kind {
    kPassing,  // progress: dropped while the reader is behind, so that a pipe keeps room for what is kept
    kKept,     // dropped only when megabytes of it wait
  };

  // fd must stay open while the object lives.
  explicit LineWriter(int fd);
  // Waits for nobody: what is not written is lost. See flush().
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // Never blocks. False if the text was dropped; a reader that is gone takes everything in silence.
  bool write(std::string text, Kind kind);
  // False while so much waits that a source which can wait should.
  bool has_room() const;
  // Waits until all is written or nobody reads any more; false if the time was not enough.
  bool flush(std::chrono::milliseconds limit) const;

 private:
  struct State;
  std::shared_ptr<State>
      state_;  // shared with the thread, which may be held by the reader when the object goes
};

// Standard output and standard error; they live as long as the process. What is written otherwise to the same
// stream has to be flushed before.
LineWriter& standard_output();
LineWriter& standard_error();
// The last words of a program are waited for so long.
void flush_standard_writers();

// For programs that go on without a reader: a pipe that it closed is an error of the write, no signal.
void ignore_closed_pipes();

}  // namespace thinwire::launch
