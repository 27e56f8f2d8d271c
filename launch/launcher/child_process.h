// A child process with its output read line by line, and its input written where it wants some. It leads a
// process group of its own, so a Ctrl-C at the terminal reaches it only through us; if this process dies, it
// gets SIGTERM.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace thinwire::launch {

enum class Stream { kOut, kError };
enum class Input { kNone, kPipe };
// kShielded: SIGINT, SIGTERM and SIGHUP do not reach the child, only what it starts may take them (mpirun
// unblocks them for its processes). It dies by SIGKILL with us then.
enum class Signals { kDefault, kShielded };

class ChildProcess {
 public:
  using OnLine = std::function<void(Stream, std::string_view)>;  // without the line's end

  // command[0] is looked up in PATH. environment: "NAME=value" entries over this process's own.
  // Throws std::runtime_error that says what could not be started.
  ChildProcess(const std::vector<std::string>& command, const std::vector<std::string>& environment,
               Input input = Input::kNone, Signals signals = Signals::kDefault);
  // Kills the group if it still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Waits for output up to `limit` and hands over complete lines. False once both streams have ended.
  bool read_lines(std::chrono::milliseconds limit, const OnLine& on_line);

  // To a child with Input::kPipe. Throws std::system_error if it has ended or closed its input.
  void write(std::string_view text);
  void end_input();

  void signal(int number) const;           // to the child
  void signal_group(int number) const;     // to it and what it started in its group
  void signal_children(int number) const;  // to those that it has started, in whatever group
  int wait();                              // its status, as of waitpid

 private:
  struct Pipe {
    int fd = -1;
    std::string partial;  // the line under way
  };
  void drain(Pipe& pipe, Stream stream, const OnLine& on_line);

  pid_t pid_ = -1;
  bool reaped_ = false;
  int input_ = -1;
  Pipe pipes_[2];
};

}  // namespace thinwire::launch
