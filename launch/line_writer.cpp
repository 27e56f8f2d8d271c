#include "launch/line_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

namespace thinwire::launch {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMaxKeptBytes = std::size_t{4} << 20;
constexpr std::size_t kRoomBytes = std::size_t{1} << 18;
constexpr std::size_t kMaxPassingBytes = std::size_t{1} << 15;
// A pipe that poll() calls writable takes so much without blocking.
constexpr std::size_t kPieceBytes = 4096;
constexpr auto kLastWait = 10s;

// Bytes that a reader has left in the pipe, as a share of what it holds; 0 where it is no pipe.
double filled_share(int fd) {
  struct stat status = {};
  int unread = 0;
  if (::fstat(fd, &status) != 0 || !S_ISFIFO(status.st_mode) || ::ioctl(fd, FIONREAD, &unread) != 0) return 0;
  const int size = ::fcntl(fd, F_GETPIPE_SZ);
  return size > 0 ? static_cast<double>(unread) / size : 0;
}

enum class Written { kWhole, kDropped, kNobodyReads };

}  // namespace

struct LineWriter::State {
  explicit State(int descriptor) : fd(descriptor) {}

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return closing || !texts.empty(); });
      if (closing) break;
      const std::string text = std::move(texts.front());
      lock.unlock();
      const Written written = put(text);
      lock.lock();
      texts.pop_front();
      bytes -= text.size();
      if (written == Written::kNobodyReads) {
        nobody_reads = true;
        texts.clear();
        bytes = 0;
      }
      changed.notify_all();
    }
    ended = true;
    changed.notify_all();
  }

  // On the thread, without the mutex.
  Written put(std::string_view text) {
    while (!text.empty()) {
      pollfd wait = {fd, POLLOUT, 0};
      const int ready = ::poll(&wait, 1, 100);
      {
        const std::scoped_lock lock(mutex);
        if (closing) return Written::kDropped;
      }
      if (ready <= 0) continue;
      const ssize_t count = ::write(fd, text.data(), std::min(text.size(), kPieceBytes));
      if (count >= 0) {
        text.remove_prefix(static_cast<std::size_t>(count));
      } else if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
        return Written::kDropped;  // a full disk; the next line tries again
      } else if (errno != EINTR && errno != EAGAIN) {
        return Written::kNobodyReads;
      }
    }
    return Written::kWhole;
  }

  const int fd;
  std::mutex mutex;
  std::condition_variable changed;
  // Guarded by mutex. The front text is being written.
  std::deque<std::string> texts;
  std::size_t bytes = 0;
  bool nobody_reads = false;
  bool closing = false;
  bool ended = false;
};

LineWriter::LineWriter(int fd) : state_(std::make_shared<State>(fd)) {
  std::thread([state = state_] {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);  // SIGPIPE too: the error of write() says it
    state->run();
  }).detach();
}

LineWriter::~LineWriter() {
  std::unique_lock lock(state_->mutex);
  state_->closing = true;
  state_->changed.notify_all();
  // A terminal may hold the thread inside write(); it is left behind then.
  state_->changed.wait_for(lock, 1s, [this] { return state_->ended; });
}

bool LineWriter::write(std::string text, Kind kind) {
  const bool behind = kind == Kind::kPassing && filled_share(state_->fd) > 0.5;
  const std::scoped_lock lock(state_->mutex);
  if (state_->nobody_reads) return true;
  const std::size_t most = kind == Kind::kPassing ? kMaxPassingBytes : kMaxKeptBytes;
  if (behind || state_->bytes + text.size() > most) return false;
  state_->bytes += text.size();
  state_->texts.push_back(std::move(text));
  state_->changed.notify_all();
  return true;
}

bool LineWriter::has_room() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->nobody_reads || state_->bytes < kRoomBytes;
}

bool LineWriter::flush(std::chrono::milliseconds limit) const {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, limit, [this] { return state_->bytes == 0; });
}

LineWriter& standard_output() {
  static LineWriter& writer = *new LineWriter(STDOUT_FILENO);  // lives on while the process exits
  return writer;
}

LineWriter& standard_error() {
  static LineWriter& writer = *new LineWriter(STDERR_FILENO);
  return writer;
}

void flush_standard_writers() {
  const auto deadline = std::chrono::steady_clock::now() + kLastWait;
  const auto left = [deadline] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  };
  standard_output().flush(left());
  standard_error().flush(std::max(left(), 100ms));
}

void ignore_closed_pipes() {
  ::signal(SIGPIPE, SIG_IGN);
}

}  // namespace thinwire::launch
