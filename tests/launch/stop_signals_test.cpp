#include "launch/stop_signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace thinwire::launch {
namespace {

using namespace std::chrono_literals;

template <class Condition>
bool comes(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

// What a child process makes of it; its status, as of waitpid.
template <class Body>
int status_of_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(StopSignals, EveryStopSignalIsHeardAndToldAtOnce) {
  for (const int number : kStopSignals) {
    std::atomic<int> told = 0;
    const StopSignals stop({.on_request = [&](int signal, bool) { told = signal; }});
    EXPECT_EQ(stop.signal(), 0);
    std::raise(number);
    EXPECT_EQ(stop.signal(), number);
    EXPECT_TRUE(comes([&] { return told == number; })) << signal_name(number);
  }
}

TEST(StopSignals, SeveralWithinTwoSecondsAreOneRequest) {
  int times_told = 0;
  {
    const StopSignals stop({.on_request = [&](int, bool) { ++times_told; }});
    for (const int number : {SIGTERM, SIGINT, SIGTERM, SIGHUP, SIGUSR1}) std::raise(number);
    EXPECT_EQ(stop.signal(), SIGTERM);
    EXPECT_EQ(stop.again(), 0);
  }
  EXPECT_LE(times_told, 1);
}

TEST(StopSignals, ALaterOneIsCountedOrEndsTheProcess) {
  const int counted = status_of_child([] {
    const StopSignals stop({.again_ends = false});
    std::raise(SIGTERM);
    std::this_thread::sleep_for(2100ms);
    std::raise(SIGINT);
    ::_exit(stop.again() == SIGINT && stop.signal() == SIGTERM ? 7 : 1);
  });
  EXPECT_EQ(WEXITSTATUS(counted), 7);
  const int ended = status_of_child([] {
    const StopSignals stop({});
    std::raise(SIGTERM);
    std::this_thread::sleep_for(2100ms);
    std::raise(SIGINT);
  });
  ASSERT_TRUE(WIFEXITED(ended));
  EXPECT_EQ(WEXITSTATUS(ended), 130);
}

TEST(StopSignals, WhatAStarterPassesOnIsNeverASecondRequest) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::atomic<bool> from_starter = false;
    {
      const StopSignals stop(
          {.starter_passes_on = true, .on_request = [&](int, bool passed_on) { from_starter = passed_on; }});
      (void)!::write(ready[1], "r", 1);
      for (int i = 0; i < 40; ++i) std::this_thread::sleep_for(100ms);  // both signals have come by then
    }
    ::_exit(from_starter ? 7 : 1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(child, SIGTERM);
  std::this_thread::sleep_for(2200ms);
  ::kill(child, SIGTERM);  // a launcher that was stopped meanwhile is late
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(StopSignals, AHangupThatIsIgnoredStaysIgnored) {
  const int status = status_of_child([] {
    ::signal(SIGHUP, SIG_IGN);
    const StopSignals stop({});
    std::raise(SIGHUP);
    ::_exit(stop.signal() == 0 ? 7 : 1);
  });
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(StopSignals, AHandlerBeforeComesBack) {
  { const StopSignals stop({}); }
  struct sigaction action = {};
  ::sigaction(SIGTERM, nullptr, &action);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
}

TEST(StopSignals, HaveNamesAndExitCodes) {
  EXPECT_EQ(signal_name(SIGTERM), "SIGTERM");
  EXPECT_EQ(exit_code_of_signal(SIGINT), 130);
  EXPECT_EQ(exit_code_of_signal(SIGTERM), 143);
  EXPECT_EQ(exit_code_of_signal(SIGHUP), 129);
}

}  // namespace
}  // namespace thinwire::launch
