// What a user sees of a run under way: one line, rewritten on a terminal; plain lines elsewhere.
#pragma once

#include <mutex>
#include <string>

#include "launch/line_writer.h"
#include "trainer/worker.h"

namespace thinwire::launch {

// "step 120/600  loss 3.4120  12.3k tokens/s  wire 1.2 Mbit/s  left 3m20s"
std::string format_progress(const trainer::Progress& progress);

// Never waits for a reader: progress that nobody reads is dropped, messages are kept aside.
// Thread safety: all members, from any thread.
class ProgressLine {
 public:
  // out must outlive the object. terminal: rewrite one line.
  ProgressLine(LineWriter& out, bool terminal) : out_(out), terminal_(terminal) {}
  ~ProgressLine() { close(); }

  void show(const trainer::Progress& progress);
  // A line of its own that stays, above the progress line.
  void message(const std::string& text);
  // Ends the rewritten line; what comes next starts a new one.
  void close();

 private:
  LineWriter& out_;
  const bool terminal_;
  std::mutex mutex_;
  std::string line_;  // the rewritten line as it stands; empty: none. Guarded by mutex_
};

}  // namespace thinwire::launch
