#include "launch/launcher/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace thinwire::launch {
namespace {

// A line longer than this is handed over in pieces, so that a child cannot fill our memory.
constexpr std::size_t kLongestLine = 1 << 20;

struct PipeEnds {
  int read_end = -1;
  int write_end = -1;
};

PipeEnds make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  return {ends[0], ends[1]};
}

// PATH's program of that name, or "" if there is none.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? name : "";
  const char* path = std::getenv("PATH");
  std::string folders = path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path;
  for (std::size_t begin = 0; begin <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', begin), folders.size());
    const std::string candidate = folders.substr(begin, end - begin) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    begin = end + 1;
  }
  return "";
}

// This process's environment with the entries put over it.
std::vector<std::string> merged_environment(const std::vector<std::string>& entries) {
  const auto name_of = [](std::string_view entry) { return entry.substr(0, entry.find('=')); };
  std::vector<std::string> merged = entries;
  for (char** own = environ; *own != nullptr; ++own) {
    const bool replaced = std::any_of(entries.begin(), entries.end(), [&](const std::string& entry) {
      return name_of(entry) == name_of(*own);
    });
    if (!replaced) merged.emplace_back(*own);
  }
  return merged;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

struct Exec {
  const char* program;
  char** arguments;
  char** environment;
  int in;  // negative: nothing to read
  int out;
  int error;
  pid_t parent;
  Signals signals;
};

// In the child, between fork and exec: only calls that are safe there.
[[noreturn]] void become(const Exec& exec) {
  ::setpgid(0, 0);
  const bool shielded = exec.signals == Signals::kShielded;
  ::prctl(PR_SET_PDEATHSIG, shielded ? SIGKILL : SIGTERM);
  if (::getppid() != exec.parent) ::_exit(127);  // the parent died before prctl
  const int in = exec.in < 0 ? ::open("/dev/null", O_RDONLY) : exec.in;
  ::dup2(in, STDIN_FILENO);
  ::dup2(exec.out, STDOUT_FILENO);
  ::dup2(exec.error, STDERR_FILENO);
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t blocked;
  sigemptyset(&blocked);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    if (shielded) sigaddset(&blocked, number);
  }
  ::sigprocmask(SIG_SETMASK, &blocked, nullptr);
  ::execve(exec.program, exec.arguments, exec.environment);
  ::_exit(127);
}

// Of a process by its folder in /proc; 0 if it is gone.
pid_t parent_of(const std::filesystem::path& folder) {
  std::FILE* file = std::fopen((folder / "stat").c_str(), "re");
  if (file == nullptr) return 0;
  std::array<char, 512> text = {};
  const std::size_t count = std::fread(text.data(), 1, text.size() - 1, file);
  std::fclose(file);
  const std::string_view line(text.data(), count);
  const auto name_end = line.rfind(')');  // a name may hold anything
  int parent = 0;
  if (name_end == std::string_view::npos || std::sscanf(text.data() + name_end, ") %*c %d", &parent) != 1)
    return 0;
  return parent;
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& command,
                           const std::vector<std::string>& environment, Input input, Signals signals) {
  const std::string program = find_program(command.at(0));
  if (program.empty()) throw std::runtime_error(command[0] + ": no such program in PATH");
  const std::vector<std::string> merged = merged_environment(environment);
  std::vector<char*> arguments = pointers(command), variables = pointers(merged);
  const PipeEnds in = input == Input::kPipe ? make_pipe() : PipeEnds();
  const PipeEnds out = make_pipe(), error = make_pipe();
  const pid_t self = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0)
    become({program.c_str(), arguments.data(), variables.data(), in.read_end, out.write_end, error.write_end,
            self, signals});
  if (in.read_end >= 0) ::close(in.read_end);
  input_ = in.write_end;
  ::close(out.write_end);
  ::close(error.write_end);
  pipes_[0].fd = out.read_end;
  pipes_[1].fd = error.read_end;
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  ::setpgid(pid_, pid_);  // here too, so that a signal sent at once finds the group
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0 && !reaped_) {
    signal_group(SIGKILL);
    wait();
  }
  end_input();
  for (Pipe& pipe : pipes_) {
    if (pipe.fd >= 0) ::close(pipe.fd);
  }
}

void ChildProcess::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(input_, text.data(), text.size());
    if (count < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "child's input");
    text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  }
}

void ChildProcess::end_input() {
  if (input_ >= 0) ::close(std::exchange(input_, -1));
}

bool ChildProcess::read_lines(std::chrono::milliseconds limit, const OnLine& on_line) {
  std::array<pollfd, 2> waits;
  for (std::size_t i = 0; i < 2; ++i)
    waits[i] = {pipes_[i].fd, POLLIN, 0};  // poll skips a negative descriptor
  if (pipes_[0].fd < 0 && pipes_[1].fd < 0) return false;
  if (::poll(waits.data(), waits.size(), static_cast<int>(limit.count())) > 0) {
    for (std::size_t i = 0; i < 2; ++i) {
      if (waits[i].revents != 0) drain(pipes_[i], i == 0 ? Stream::kOut : Stream::kError, on_line);
    }
  }
  return pipes_[0].fd >= 0 || pipes_[1].fd >= 0;
}

void ChildProcess::drain(Pipe& pipe, Stream stream, const OnLine& on_line) {
  std::array<char, 65536> buffer;
  const ssize_t count = ::read(pipe.fd, buffer.data(), buffer.size());
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count > 0) pipe.partial.append(buffer.data(), static_cast<std::size_t>(count));
  std::size_t begin = 0;
  for (std::size_t end; (end = pipe.partial.find('\n', begin)) != std::string::npos; begin = end + 1) {
    on_line(stream, std::string_view(pipe.partial).substr(begin, end - begin));
  }
  pipe.partial.erase(0, begin);
  const bool ended = count <= 0;
  if (!pipe.partial.empty() && (ended || pipe.partial.size() > kLongestLine)) {
    on_line(stream, std::exchange(pipe.partial, {}));
  }
  if (ended) ::close(std::exchange(pipe.fd, -1));
}

void ChildProcess::signal(int number) const {
  if (!reaped_) ::kill(pid_, number);
}

void ChildProcess::signal_group(int number) const {
  if (!reaped_) ::kill(-pid_, number);
}

void ChildProcess::signal_children(int number) const {
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (!reaped_ && parent_of(entry->path()) == pid_) ::kill(std::atoi(name.c_str()), number);
  }
}

int ChildProcess::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  reaped_ = true;
  return status;
}

}  // namespace thinwire::launch
