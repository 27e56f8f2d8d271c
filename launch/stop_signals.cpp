#include "launch/stop_signals.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <system_error>
#include <utility>

namespace thinwire::launch {
namespace {

constexpr std::int64_t kSameRequestNs = 2'000'000'000;

// A handler reaches only globals; lock-free atomics are safe in it.
std::atomic<std::int64_t> first_at = 0;  // 0: none came
std::atomic<int> first_signal = 0;
std::atomic<int> second_signal = 0;
std::atomic<bool> again_ends = false;
std::atomic<bool> starter_passes_on = false;
std::atomic<int> news_pipe[2] = {-1, -1};
static_assert(std::atomic<std::int64_t>::is_always_lock_free && std::atomic<int>::is_always_lock_free &&
              std::atomic<bool>::is_always_lock_free);

enum News : char { kOwn = 'o', kFromStarter = 's', kNoMore = 'n' };

void tell(News news) {
  const char byte = news;
  [[maybe_unused]] const ssize_t count = ::write(news_pipe[1], &byte, 1);
}

[[noreturn]] void end_at_once(int signal) {
  constexpr char kText[] = "\nthinwire: ended at once by a second signal\n";
  pollfd reader = {STDERR_FILENO, POLLOUT, 0};
  if (::poll(&reader, 1, 0) == 1) {
    [[maybe_unused]] const ssize_t count = ::write(STDERR_FILENO, kText, sizeof kText - 1);
  }
  ::_exit(exit_code_of_signal(signal));
}

void on_signal(int signal, siginfo_t* info, void*) {
  const int error = errno;
  const bool passed_on = starter_passes_on && info->si_code == SI_USER && info->si_pid == ::getppid();
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t at = std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  std::int64_t first = 0;
  if (first_at.compare_exchange_strong(first, at)) {
    first_signal = signal;
    tell(passed_on ? kFromStarter : kOwn);
  } else if (!passed_on && at - first > kSameRequestNs) {
    if (again_ends) end_at_once(signal);
    int none = 0;
    second_signal.compare_exchange_strong(none, signal);
  }
  errno = error;
}

bool is_ignored(int signal) {
  struct sigaction action = {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal) : std::string("SIG") + name;
}

StopSignals::StopSignals(Options options) : options_(std::move(options)) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  news_pipe[0] = ends[0];
  news_pipe[1] = ends[1];
  first_at = 0;
  first_signal = second_signal = 0;
  again_ends = options_.again_ends;
  starter_passes_on = options_.starter_passes_on;
  if (options_.on_request) waiter_ = std::thread([this] { wait_for_request(); });

  struct sigaction action = {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  for (std::size_t i = 0; i < std::size(kStopSignals); ++i) {
    const int signal = kStopSignals[i];
    const bool stays = signal == SIGHUP && is_ignored(signal);
    ::sigaction(signal, stays ? nullptr : &action, &previous_[i]);
  }
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < std::size(kStopSignals); ++i)
    ::sigaction(kStopSignals[i], &previous_[i], nullptr);
  tell(kNoMore);
  if (waiter_.joinable()) waiter_.join();
  for (auto& end : news_pipe) ::close(end.exchange(-1));
}

const std::atomic<int>& StopSignals::signal() const {
  return first_signal;
}

int StopSignals::again() const {
  return second_signal;
}

void StopSignals::wait_for_request() const {
  char news = kNoMore;
  while (::read(news_pipe[0], &news, 1) < 0 && errno == EINTR) {
  }
  if (news != kNoMore) options_.on_request(first_signal, news == kFromStarter);
}

}  // namespace thinwire::launch
