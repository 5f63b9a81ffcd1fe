//! Runs a plan: sessions, threads, profile.
